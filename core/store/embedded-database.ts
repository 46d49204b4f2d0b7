import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite, type Transaction } from '@electric-sql/pglite';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { Database, Queryable } from './database.ts';
import { storeError } from './errors.ts';

/**
 * The store inside this process, in a folder. Only one process may have it: two would each keep
 * their own buffers over the same files and destroy them. A second one gets CFG_STORE_LOCKED.
 */
export async function openEmbeddedDatabase(folder: string): Promise<Database> {
  await mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  try {
    const pglite = await PGlite.create({ dataDir: join(folder, 'data') });
    return {
      ...queryable(pglite),
      transaction: (work) =>
        pglite
          .transaction((tx) => work(queryable(tx)))
          .catch((error: unknown) => {
            throw storeError(error);
          }) as ReturnType<typeof work>,
      async close() {
        if (pglite.closed) return;
        await pglite.close().finally(() => lock.release());
      },
    };
  } catch (error) {
    lock.release();
    throw storeError(error);
  }
}

function queryable(client: PGlite | Transaction): Queryable {
  return {
    async query<Row extends object>(sql: string, params?: readonly unknown[]) {
      try {
        return (await client.query<Row>(sql, params as unknown[])).rows;
      } catch (error) {
        throw storeError(error);
      }
    },
    async script(sql) {
      try {
        await client.exec(sql);
      } catch (error) {
        throw storeError(error);
      }
    },
  };
}

/** A lock of the kernel, taken through SQLite: it goes with its process however that ends, which a
 * file that holds a process id does not. */
async function lockFolder(folder: string): Promise<{ release(): void }> {
  const { DatabaseSync } = await import('node:sqlite');
  const file = new DatabaseSync(join(folder, 'lock'));
  try {
    file.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    file.close();
    throw new PipelineError(
      'CFG_STORE_LOCKED',
      `another process has the embedded store in ${folder} open`,
      { details: { folder }, cause: error },
    );
  }
  return { release: () => file.close() };
}
