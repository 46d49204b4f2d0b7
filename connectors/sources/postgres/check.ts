import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { indexWarning, type CursorChoice } from '../../capture/cursor-columns.ts';
import type { CheckResult } from '../../spi/connector.ts';
import { hasIdentity, tablesOfSchemas, type TableFacts } from './catalog.ts';
import { TypeRegistry } from './column-types.ts';
import { parseConfig, type CaptureConfig, type PostgresSourceConfig } from './config.ts';
import { cursorColumns } from './cursor.ts';
import {
  createStatement,
  missingActions,
  publishedTables,
  readPublications,
} from './publication.ts';
import { connect, quoteIdentifier, SideSession } from './session.ts';
import { readSlot } from './slot.ts';
import { indexedColumns } from './table-order.ts';

interface Findings {
  readonly failures: string[];
  readonly warnings: string[];
}

/** Looks at everything that a capture will need; each failed point comes with what mends it. */
export async function check(raw: Record<string, unknown>): Promise<CheckResult> {
  const found: Findings = { failures: [], warnings: [] };
  let sql: SideSession | null = null;
  try {
    const config = parseConfig(raw);
    sql = new SideSession(config, 'check');
    const tables = await tablesOfSchemas(sql, config.schemas);
    await checkSchemas(sql, config, found);
    checkTables(tables, found);
    if (config.capture !== null) await checkCapture(sql, config, config.capture, tables, found);
    else await checkCursors(sql, tables, found);
  } catch (error) {
    found.failures.push(sentence(toPipelineError(error)));
  } finally {
    await sql?.close();
  }
  const ok = found.failures.length === 0;
  const message = ok ? 'Connection succeeded.' : found.failures.join('\n');
  return found.warnings.length === 0 ? { ok, message } : { ok, message, warnings: found.warnings };
}

function sentence(error: PipelineError): string {
  return `${error.code}: ${error.message}. ${error.spec.fix}`;
}

async function checkSchemas(
  sql: SideSession,
  config: PostgresSourceConfig,
  found: Findings,
): Promise<void> {
  const rows = await sql.query('SELECT nspname FROM pg_namespace WHERE nspname = ANY($1)', [
    config.schemas,
  ]);
  const existing = new Set(rows.map((row) => row['nspname']));
  for (const schema of config.schemas) {
    if (!existing.has(schema)) found.failures.push(`schema ${schema} does not exist`);
  }
}

function checkTables(tables: readonly TableFacts[], found: Findings): void {
  const unreadable = tables.filter((table) => !table.selectable);
  if (unreadable.length > 0) {
    const names = unreadable.map((table) => streamLabel(table.stream)).join(', ');
    const message = `SELECT is missing on ${names}; run: GRANT SELECT ON ${names} TO CURRENT_USER`;
    if (unreadable.length === tables.length) found.failures.push(message);
    else found.warnings.push(message);
  }
  for (const table of tables) {
    if (table.generated.length === 0) continue;
    found.warnings.push(
      `${streamLabel(table.stream)}: generated columns are not captured: ${table.generated.join(', ')}`,
    );
  }
}

async function checkCapture(
  sql: SideSession,
  config: PostgresSourceConfig,
  capture: CaptureConfig,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const slot = await readSlot(sql, capture.slot);
  await checkServer(sql, slot === null, found);
  await checkReplicationLogin(config, found);
  if (slot === null && !capture.create) {
    found.failures.push(
      `replication slot ${capture.slot} does not exist; run: ` +
        `SELECT pg_create_logical_replication_slot('${capture.slot}', 'pgoutput')`,
    );
  } else if (slot !== null && slot.plugin !== 'pgoutput') {
    found.failures.push(`replication slot ${capture.slot} uses ${slot.plugin}, not pgoutput`);
  } else if (slot?.lost === true) {
    found.failures.push(
      `replication slot ${capture.slot} was invalidated; run: SELECT pg_drop_replication_slot('${capture.slot}')`,
    );
  } else if (slot !== null && slot.database !== config.database) {
    found.failures.push(`replication slot ${capture.slot} belongs to database ${slot.database}`);
  }
  await checkPublications(sql, capture, tables, found);
}

async function checkServer(sql: SideSession, needsSlot: boolean, found: Findings): Promise<void> {
  const [row] = await sql.query(
    `SELECT current_setting('wal_level') AS wal_level,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS replication,
       current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)
         AS slots,
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication) AS senders,
       current_setting('server_encoding') AS encoding, current_user AS role`,
  );
  if (row?.['wal_level'] !== 'logical') {
    found.failures.push(
      `wal_level is ${String(row?.['wal_level'])}; run: ALTER SYSTEM SET wal_level = logical, then restart the server`,
    );
  }
  if (row?.['replication'] !== 't') {
    found.failures.push(
      `the role has no REPLICATION right; run: ALTER ROLE ${quoteIdentifier(String(row?.['role']))} REPLICATION`,
    );
  }
  if (needsSlot && Number(row?.['slots']) < 1) {
    found.failures.push('no replication slot is free; raise max_replication_slots and restart');
  }
  if (Number(row?.['senders']) < 1) {
    found.failures.push('no WAL sender is free; raise max_wal_senders and restart');
  }
  if (row?.['encoding'] === 'SQL_ASCII') {
    found.warnings.push(
      'the database has encoding SQL_ASCII: text that is not UTF-8 stops its stream',
    );
  }
}

/** A pooler, or a pg_hba line, may let only ordinary sessions through. */
async function checkReplicationLogin(config: PostgresSourceConfig, found: Findings): Promise<void> {
  try {
    const client = await connect(config, { replication: true, purpose: 'check' });
    await client.end();
  } catch (error) {
    found.failures.push(`replication session: ${sentence(toPipelineError(error))}`);
  }
}

async function checkPublications(
  sql: SideSession,
  capture: CaptureConfig,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const publications = await readPublications(sql, capture);
  const main = publications.get(capture.publication);
  if (main === undefined) {
    if (!capture.create) {
      const statement = createStatement(capture, capture.publication, tables.filter(hasIdentity));
      found.failures.push(`publication ${capture.publication} does not exist; run: ${statement}`);
    } else await checkMayCreate(sql, found);
  } else if (missingActions(main).length > 0) {
    found.failures.push(
      `publication ${main.name} leaves out ${missingActions(main).join(', ')}; run: ` +
        `ALTER PUBLICATION ${quoteIdentifier(main.name)} SET (publish = 'insert, update, delete, truncate')`,
    );
  }
  for (const [label, table] of await publishedTables(sql, capture)) {
    if (!table.narrowed) continue;
    found.failures.push(`${label} is published with a row filter or a column list; remove it`);
  }
  for (const table of tables) {
    if (hasIdentity(table)) continue;
    found.warnings.push(identityWarning(table));
  }
}

async function checkMayCreate(sql: SideSession, found: Findings): Promise<void> {
  const [row] = await sql.query(
    `SELECT has_database_privilege(current_database(), 'CREATE') AS may,
       quote_ident(current_database()) AS database, quote_ident(current_user) AS role`,
  );
  if (row?.['may'] === 't') return;
  found.failures.push(
    `the role may not create the publication; run: GRANT CREATE ON DATABASE ${String(row?.['database'])} TO ${String(row?.['role'])}`,
  );
}

/** Where streams are read by a cursor: without an index every read looks at every row. */
async function checkCursors(
  sql: SideSession,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const types = new TypeRegistry(sql);
  for (const table of tables) {
    const resolved = await types.resolve(table.columns);
    const choice = cursorColumns(
      table.columns.map(({ name }, index) => ({
        name,
        type: (resolved[index] as (typeof resolved)[number]).type,
      })),
    );
    const indexed = await indexedColumns(sql, table);
    const warning = cursorWarning(table, choice, indexed);
    if (warning !== null) found.warnings.push(warning);
  }
}

/** Null where an incremental read finds an index. */
export function cursorWarning(
  { stream }: TableFacts,
  choice: CursorChoice,
  indexed: ReadonlySet<string>,
): string | null {
  const label = streamLabel(stream);
  return indexWarning(
    label,
    choice,
    indexed,
    (column) => `CREATE INDEX ON ${label} (${quoteIdentifier(column)})`,
  );
}

export function identityWarning(table: TableFacts): string {
  const label = streamLabel(table.stream);
  return (
    `${label} has no primary key or other replica identity: only its inserts and truncates can be captured; ` +
    `for updates and deletes run: ALTER TABLE ${label} REPLICA IDENTITY FULL`
  );
}
