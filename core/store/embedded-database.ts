import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { Database, Queryable } from './database.ts';
import type { StoreAnswer, StoreCall, StoreRequest } from './embedded-messages.ts';
import { storeError } from './errors.ts';

/**
 * The store inside this process, in a folder. Only one process may have it: two would each keep
 * their own buffers over the same files and destroy them. A second one gets CFG_STORE_LOCKED.
 */
export async function openEmbeddedDatabase(folder: string): Promise<Database> {
  await mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  // Optimizing the one largest function of the embedded Postgres takes 600 MB and a second of CPU, on
  // every start; its first compilation is as fast for what a store is asked.
  setFlagsFromString('--no-wasm-tier-up');
  setFlagsFromString('--no-wasm-dynamic-tiering');
  const thread = new StoreThread(join(folder, 'data'));
  try {
    await thread.opened;
  } catch (error) {
    await thread.terminate();
    lock.release();
    throw storeError(error);
  }
  return {
    ...queryable(thread, null),
    transaction: (work) => inTransaction(thread, work),
    async close() {
      if (thread.ended) return;
      try {
        await thread.call({ kind: 'close' });
      } finally {
        await thread.terminate();
        lock.release();
      }
    },
  };
}

async function inTransaction<T>(
  thread: StoreThread,
  work: (tx: Queryable) => Promise<T>,
): Promise<T> {
  const transaction = (await thread.call({ kind: 'begin' })) as number;
  let result: T;
  try {
    result = await work(queryable(thread, transaction));
  } catch (error) {
    await thread.call({ kind: 'rollback', transaction });
    throw storeError(error);
  }
  await thread.call({ kind: 'commit', transaction });
  return result;
}

function queryable(thread: StoreThread, transaction: number | null): Queryable {
  return {
    async query<Row extends object>(sql: string, params: readonly unknown[] = []) {
      return (await thread.call({ kind: 'query', transaction, sql, params })) as Row[];
    },
    async script(sql) {
      await thread.call({ kind: 'script', transaction, sql });
    },
  };
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: PipelineError): void;
}

/** The thread that holds the database, and the calls it has not answered. */
class StoreThread {
  /** Settles when the database is open, or cannot be. */
  readonly opened: Promise<unknown>;
  ended = false;
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private last = 0;

  constructor(dataDir: string) {
    const entry = new URL('./embedded-thread.ts', import.meta.url);
    this.worker = new Worker(entry, { workerData: { dataDir } });
    this.worker.on('message', (answer: StoreAnswer) => this.receive(answer));
    this.worker.on('error', (error) => this.lose(error));
    this.worker.on('exit', () => this.lose(null));
    this.opened = this.expect(0);
  }

  call(call: StoreCall): Promise<unknown> {
    if (this.ended) return Promise.reject(lost(null));
    const id = ++this.last;
    this.worker.postMessage({ id, call } satisfies StoreRequest);
    return this.expect(id);
  }

  async terminate(): Promise<void> {
    this.ended = true;
    await this.worker.terminate();
  }

  private expect(id: number): Promise<unknown> {
    this.worker.ref();
    return new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
  }

  private receive(answer: StoreAnswer): void {
    const waiting = this.pending.get(answer.id);
    this.pending.delete(answer.id);
    // An idle store keeps no process alive.
    if (this.pending.size === 0) this.worker.unref();
    if ('value' in answer) waiting?.resolve(answer.value);
    else waiting?.reject(storeError(Object.assign(new Error(answer.error.message), answer.error)));
  }

  private lose(error: Error | null): void {
    this.ended = true;
    for (const { reject } of this.pending.values()) reject(lost(error));
    this.pending.clear();
  }
}

function lost(cause: Error | null): PipelineError {
  const why = cause === null ? 'it was closed' : cause.message;
  return new PipelineError('CFG_STORE_UNAVAILABLE', `the embedded store has ended: ${why}`, {
    cause,
  });
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
