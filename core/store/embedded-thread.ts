import { parentPort, workerData } from 'node:worker_threads';
import { PGlite, type Transaction } from '@electric-sql/pglite';
import type { DriverError, StoreAnswer, StoreCall, StoreRequest } from './embedded-messages.ts';

/** Entry of the thread that holds the embedded store: its statements run to their end in one go, and
 * on the main thread every one of them would hold up the changes that pass there. */

interface OpenTransaction {
  readonly client: Transaction;
  /** Lets the driver commit or, with an error, roll back. */
  end(error: Error | null): void;
  /** Settles when the driver has done so. */
  readonly ended: Promise<void>;
}

const ROLLED_BACK = new Error('rolled back');
const transactions = new Map<number, OpenTransaction>();
let begun = 0;

const { dataDir } = workerData as { dataDir: string };
/** The store is a few thousand small rows; Postgres's own defaults would keep 128 MB of them in memory
 * and room for a hundred sessions, where there is one. */
const SMALL = ['shared_buffers=8MB', 'wal_buffers=512kB', 'max_connections=4'];
const opening = PGlite.create({
  dataDir,
  startParams: [...PGlite.defaultStartParams, ...SMALL.flatMap((setting) => ['-c', setting])],
});
opening.then(
  () => answer({ id: 0, value: null }),
  (error: unknown) => answer({ id: 0, error: driverError(error) }),
);
parentPort?.on('message', (request: StoreRequest) => void serve(request));

async function serve({ id, call }: StoreRequest): Promise<void> {
  try {
    answer({ id, value: await run(await opening, call) });
  } catch (error) {
    answer({ id, error: driverError(error) });
  }
}

async function run(pglite: PGlite, call: StoreCall): Promise<unknown> {
  switch (call.kind) {
    case 'query':
      return (await clientOf(pglite, call.transaction).query(call.sql, [...call.params])).rows;
    case 'script':
      await clientOf(pglite, call.transaction).exec(call.sql);
      return null;
    case 'begin':
      return begin(pglite);
    case 'commit':
    case 'rollback':
      await end(call.transaction, call.kind === 'commit');
      return null;
    case 'close':
      await pglite.close();
      return null;
  }
}

function clientOf(pglite: PGlite, transaction: number | null): PGlite | Transaction {
  return transaction === null ? pglite : open(transaction).client;
}

function begin(pglite: PGlite): Promise<number> {
  const number = ++begun;
  return new Promise((resolve, reject) => {
    const ended = pglite.transaction(
      (client) =>
        new Promise<void>((commit, rollBack) => {
          const finish = (error: Error | null) => (error === null ? commit() : rollBack(error));
          transactions.set(number, { client, end: finish, ended });
          resolve(number);
        }),
    );
    // Rejects when it could not begin; after that whoever ends it hears of it.
    ended.catch(reject);
  });
}

async function end(number: number, commit: boolean): Promise<void> {
  const transaction = open(number);
  transactions.delete(number);
  transaction.end(commit ? null : ROLLED_BACK);
  await transaction.ended.catch((error: unknown) => {
    if (error !== ROLLED_BACK) throw error;
  });
}

function open(number: number): OpenTransaction {
  const found = transactions.get(number);
  if (found === undefined) throw new Error(`transaction ${number} is not open`);
  return found;
}

function driverError(error: unknown): DriverError {
  const { message, code, constraint } = error as Partial<DriverError>;
  return {
    message: message ?? String(error),
    ...(code === undefined ? {} : { code }),
    ...(constraint === undefined ? {} : { constraint }),
  };
}

function answer(message: StoreAnswer): void {
  parentPort?.postMessage(message);
}
