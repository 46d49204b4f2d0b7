import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { PostgresTarget } from './config.ts';
import { classify } from './errors.ts';
import { exchange, type Statement } from './exchange.ts';
import { prepareOn } from './prepared-statements.ts';

/** Limits that the server enforces on one transaction of ours. */
export interface TransactionLimits {
  readonly lockTimeoutMs: number;
  /** 0: none, for a table rewrite. */
  readonly statementTimeoutMs: number;
}

/** Nothing of ours rests inside a transaction. An instance that is stopped in the middle of one holds
 * its locks until then, and whoever takes its place waits for them. */
const IDLE_IN_TRANSACTION_MS = 10_000;
const CLOSE_TIMEOUT_MS = 5000;

/**
 * Begins a transaction in which nothing depends on the defaults of the server, the database or the
 * role. Settings are local to it: behind a transaction pooler a session's would leak to strangers.
 */
export function begin(limits: TransactionLimits): Statement[] {
  return transaction('READ COMMITTED', {
    lock_timeout: limits.lockTimeoutMs,
    statement_timeout: limits.statementTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  });
}

/** One view of everything, for as long as its reader takes. Values are printed as at the source. */
export function beginView(): Statement[] {
  return transaction('REPEATABLE READ READ ONLY', {
    lock_timeout: 0,
    statement_timeout: 0,
    idle_in_transaction_session_timeout: 0,
    extra_float_digits: 1,
    bytea_output: 'hex',
    row_security: 'off',
    work_mem: '64MB',
    jit: 'off',
  });
}

function transaction(isolation: string, own: Record<string, string | number>): Statement[] {
  const settings: Record<string, string | number> = {
    ...own,
    search_path: 'pg_catalog',
    datestyle: 'ISO, MDY',
    timezone: 'UTC',
    intervalstyle: 'iso_8601',
    // The source prints money so; the number behind it is the same under every other setting.
    lc_monetary: 'C',
    array_nulls: 'on',
    xmloption: 'content',
    standard_conforming_strings: 'on',
  };
  const calls = Object.entries(settings).map(
    ([k, v]) => `pg_catalog.set_config('${k}','${v}',true)`,
  );
  return [
    { text: `BEGIN ISOLATION LEVEL ${isolation}` },
    { text: `SELECT ${calls.join(',')}`, isRepeated: true },
  ];
}

/** A few connections to the target, opened when needed; each is used by one caller at a time. */
export class Sessions {
  private readonly target: PostgresTarget;
  private readonly idle: Client[] = [];
  private readonly waiting: (() => void)[] = [];
  private free: number;
  private readonly broken = new WeakSet<Client>();

  constructor(target: PostgresTarget, size: number) {
    this.target = target;
    this.free = size;
  }

  /** Runs `work` on a connection of its own. When it fails, its transaction is rolled back. */
  async use<T>(work: (client: Client) => Promise<T>): Promise<T> {
    while (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.free--;
    try {
      const client = this.takeIdle() ?? (await this.connect());
      return await this.run(client, work);
    } finally {
      this.free++;
      this.waiting.shift()?.();
    }
  }

  private async run<T>(client: Client, work: (client: Client) => Promise<T>): Promise<T> {
    try {
      const result = await work(client);
      this.idle.push(client);
      return result;
    } catch (error) {
      await this.rollBack(client);
      throw error;
    }
  }

  private async rollBack(client: Client): Promise<void> {
    try {
      if (this.broken.has(client)) throw new Error('broken');
      await exchange(client, [{ text: 'ROLLBACK' }]);
      this.idle.push(client);
    } catch {
      // The server rolls back by itself when the connection goes.
      endQuietly(client);
    }
  }

  private takeIdle(): Client | undefined {
    for (;;) {
      const client = this.idle.pop();
      if (client === undefined || !this.broken.has(client)) return client;
      endQuietly(client);
    }
  }

  private async connect(): Promise<Client> {
    try {
      const client = await connect(this.target);
      client.on('error', () => this.broken.add(client));
      return client;
    } catch (error) {
      throw classify(error, this.target.address);
    }
  }

  async close(): Promise<void> {
    const ends = this.idle.splice(0).map((client) => client.end().catch(() => undefined));
    // A server that has vanished does not answer a goodbye.
    await Promise.race([Promise.all(ends), delay(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
  }
}

function endQuietly(client: Client): void {
  client.end().catch(() => undefined);
}

async function connect(target: PostgresTarget): Promise<Client> {
  try {
    return await connectOnce(target, target.client.ssl);
  } catch (error) {
    const noTls = error instanceof Error && error.message.includes('does not support SSL');
    if (!noTls || !target.plainTextAllowed) throw error;
    return connectOnce(target, false);
  }
}

async function connectOnce(
  target: PostgresTarget,
  ssl: PostgresTarget['client']['ssl'],
): Promise<Client> {
  const client = new Client({ ...target.client, ssl });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await prepareOn(client);
    return client;
  } catch (error) {
    endQuietly(client);
    throw error;
  }
}
