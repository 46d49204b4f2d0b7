import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import type { CheckResult } from '../../spi/connector.ts';
import type { PostgresTarget } from './config.ts';
import { classify } from './errors.ts';
import { exchange, type Statement } from './exchange.ts';
import { quoted } from './identifiers.ts';
import { begin, Sessions } from './sessions.ts';

const CHECK_LIMITS = { lockTimeoutMs: 5000, statementTimeoutMs: 30_000 };

/** Connects and does in transactions that are rolled back what a writer will do. */
export async function checkTarget(target: PostgresTarget): Promise<CheckResult> {
  const sessions = new Sessions(target, 1);
  try {
    const failures = await sessions.use((client) => failedPoints(client, target));
    return failures.length === 0
      ? { ok: true, message: `connected to ${target.address}` }
      : { ok: false, message: failures.join('\n') };
  } catch (thrown) {
    const error = classify(thrown, target.address);
    return { ok: false, message: `${error.message}. ${error.spec.fix}` };
  } finally {
    await sessions.close();
  }
}

async function failedPoints(client: Client, target: PostgresTarget): Promise<string[]> {
  const schemas = [target.schema, ...(target.normalization === 'v2' ? [target.rawSchema] : [])];
  const failures = new Set<string>();
  for (const schema of schemas) {
    for (const failure of await failedIn(client, target, schema)) failures.add(failure);
  }
  return [...failures];
}

async function failedIn(client: Client, target: PostgresTarget, name: string): Promise<string[]> {
  const schema = quoted(name);
  const user = quoted(target.client.user as string);
  const [state] = await exchange(client, [
    {
      text: `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
        EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname=$1)`,
      values: [name],
    },
  ]);
  const [readOnly, exists] = state?.rows[0] ?? [];
  if (readOnly === 't') {
    return [`${target.address} is read-only: name the primary server, or lift the setting.`];
  }
  if (exists === 'f') {
    const failure = await tried(client, [{ text: `CREATE SCHEMA ${schema}` }]);
    const database = quoted(target.client.database as string);
    if (failure !== null) {
      return [
        `schema "${name}" cannot be created: ${failure}. CREATE SCHEMA ${schema} AUTHORIZATION ${user}, or GRANT CREATE ON DATABASE ${database} TO ${user};`,
      ];
    }
    return [];
  }
  const probe = `${schema}.${quoted(`_headrace_check_${randomUUID()}`)}`;
  const failure = await tried(client, [
    { text: `CREATE TABLE ${probe} (id integer PRIMARY KEY)` },
    { text: `INSERT INTO ${probe} VALUES (1)` },
    { text: `ALTER TABLE ${probe} ADD COLUMN name text` },
  ]);
  if (failure === null) return [];
  return [
    `a table cannot be created in schema "${name}": ${failure}. GRANT USAGE, CREATE ON SCHEMA ${schema} TO ${user};`,
  ];
}

async function tried(client: Client, statements: readonly Statement[]): Promise<string | null> {
  try {
    await exchange(client, [...begin(CHECK_LIMITS), ...statements, { text: 'ROLLBACK' }]);
    return null;
  } catch (thrown) {
    await exchange(client, [{ text: 'ROLLBACK' }]);
    return classify(thrown, 'refused').message;
  }
}
