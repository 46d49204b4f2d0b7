import pg from 'pg';
import type { Database, Queryable } from './database.ts';
import { storeError } from './errors.ts';

const INT8 = 20;

/** The control plane's store on a Postgres server; many processes may share it. */
export function openPostgresDatabase(url: string): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: 8,
    connectionTimeoutMillis: 10_000,
    application_name: 'headrace store',
    types: { getTypeParser },
  });
  // Without a listener an idle connection that the server ends takes the whole process with it.
  pool.on('error', () => undefined);
  return {
    query: (sql, params) => run(pool, sql, params),
    script: async (sql) => void (await run(pool, sql)),
    transaction: (work) => inTransaction(pool, work),
    async close() {
      if (!pool.ended) await pool.end();
    },
  };
}

/** Our int8 columns hold epoch milliseconds, counts and job ids: below 2^53. */
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text');
}

async function run<Row extends object>(
  client: pg.Pool | pg.PoolClient,
  sql: string,
  params?: readonly unknown[],
): Promise<Row[]> {
  try {
    return (await client.query<Row>(sql, params as unknown[])).rows;
  } catch (error) {
    throw storeError(error);
  }
}

async function inTransaction<T>(pool: pg.Pool, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw storeError(error);
  });
  // A client taken out of the pool emits its socket's errors itself; the query rejects as well.
  const ignore = (): void => undefined;
  client.on('error', ignore);
  let broken: Error | undefined;
  try {
    await run(client, 'BEGIN');
    const result = await work({
      query: (sql, params) => run(client, sql, params),
      script: async (sql) => void (await run(client, sql)),
    });
    await run(client, 'COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((failed: Error) => (broken = failed));
    throw error;
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
}
