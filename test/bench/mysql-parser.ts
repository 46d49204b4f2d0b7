import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  type SqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import { mariadbContext, mysqlContext } from '../support/contexts.ts';
import type { LogReading, ReadingFigures } from './mysql-log-reading.ts';
import { loadAverage } from './process-figures.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 500_000);
const ROWS_PER_TRANSACTION = 100;
const ROUNDS = 3;
/** Compared with, and no dependency: `npm install --no-save` brings it. */
const PEER = '@vlasky/zongji@0.9.0';

/**
 * The same log of row changes in transactions of 100, half inserts, half updates, read in turn by our
 * source (up to Avro records that are thrown away) and by the peer (up to its objects), each a process of
 * its own. Best of three rounds. BENCH_SERVER=mariadb for the other server.
 */
export async function mysqlParser(): Promise<Record<string, unknown>> {
  const kind = process.env['BENCH_SERVER'] === 'mariadb' ? 'mariadb' : 'mysql';
  await using server = await (kind === 'mysql' ? mysqlContext() : mariadbContext());
  const sql = await createDatabase(server);
  await sql.run(
    `CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount decimal(12,2), paid tinyint,
       status varchar(20), note varchar(200), created datetime(6), updated timestamp)`,
  );
  const run = await openRun(server, ['orders']);
  await run.caughtUp(mysqlConfig(server));
  await run.close();
  const [end] = await sql.run(kind === 'mysql' ? 'SHOW BINARY LOG STATUS' : 'SHOW MASTER STATUS');
  await writeChanges(sql);
  sql.close();
  const reading: LogReading = {
    port: server.port,
    changes: CHANGES,
    file: String(end?.['File']),
    offset: Number(end?.['Position']),
    state: run.state,
  };
  const ours: ReadingFigures[] = [];
  const peer: ReadingFigures[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await read('ours', reading));
    const figures = await read('peer', reading).catch(withoutPeer);
    if (figures !== null) peer.push(figures);
  }
  const mine = best(ours);
  if (peer.length === 0) return { kind, changes: CHANGES, ours: mine, load: loadAverage() };
  const theirs = best(peer);
  return {
    kind,
    changes: CHANGES,
    ours: mine,
    peer: { name: PEER, ...theirs },
    timesFaster: Math.round((theirs.seconds / mine.seconds) * 100) / 100,
    shareOfCpu: Math.round((mine.cpuSeconds / theirs.cpuSeconds) * 100) / 100,
    load: loadAverage(),
  };
}

async function writeChanges(sql: SqlClient): Promise<void> {
  for (let from = 0; from < CHANGES / 2; from += ROWS_PER_TRANSACTION) {
    const values = Array.from({ length: ROWS_PER_TRANSACTION }, (_, i) => {
      const id = from + i;
      return `(${id}, ${id % 1000}, ${id / 8}, ${id % 2}, 'open', repeat('n', 136), now(6), now())`;
    });
    await sql.run(`INSERT INTO orders VALUES ${values.join(', ')}`);
  }
  for (let from = 0; from < CHANGES / 2; from += ROWS_PER_TRANSACTION) {
    const range = `id >= ${from} AND id < ${from + ROWS_PER_TRANSACTION}`;
    await sql.run(`UPDATE orders SET status = 'paid', updated = now() WHERE ${range}`);
  }
}

async function read(who: 'ours' | 'peer', reading: LogReading): Promise<ReadingFigures> {
  const program = join(import.meta.dirname, 'mysql-log-reading.ts');
  const args = [program, who, JSON.stringify(reading)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as ReadingFigures;
}

function withoutPeer(error: Error & { stderr?: string }): null {
  if (error.stderr?.includes('ERR_MODULE_NOT_FOUND') !== true) throw error;
  process.stderr.write(`not compared: npm install --no-save ${PEER}\n`);
  return null;
}

function best(rounds: readonly ReadingFigures[]): ReadingFigures {
  const smallest = (of: (each: ReadingFigures) => number): number => Math.min(...rounds.map(of));
  const seconds = smallest((each) => each.seconds);
  const cpuSeconds = smallest((each) => each.cpuSeconds);
  return { seconds, cpuSeconds, perSecond: Math.round(CHANGES / seconds) };
}
