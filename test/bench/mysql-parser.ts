import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  type SqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { mariadbContext, mysqlContext } from '../support/contexts.ts';
import { LogReplay } from './log-replay.ts';
import type { LogReading, ReadingFigures } from './mysql-log-reading.ts';
import { loadAverage, median } from './process-figures.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 500_000);
const ROWS_PER_TRANSACTION = 100;
const ROUNDS = 3;
/** Compared with, and no dependency: `npm install --no-save` brings it. */
const PEER = '@vlasky/zongji@0.9.0';

/** One reader's rounds by one way to the log. */
interface Rounds {
  readonly ours: ReadingFigures[];
  readonly peer: ReadingFigures[];
}

/**
 * The same log of row changes in transactions of 100, half inserts, half updates, read in turn by our
 * source (up to Avro records with keys, which are thrown away) and by the peer (up to its objects), each a
 * process of its own. Twice: from the server, whose own speed bounds both, and from a recording of what it
 * sent in this run, which tells the readers apart. Medians of three rounds. BENCH_SERVER=mariadb for the
 * other server.
 */
export async function mysqlParser(): Promise<Record<string, unknown>> {
  const kind = process.env['BENCH_SERVER'] === 'mariadb' ? 'mariadb' : 'mysql';
  await using server = await (kind === 'mysql' ? mysqlContext() : mariadbContext());
  const reading = await writtenLog(server, kind);
  await using replay = await LogReplay.before(server.port);
  await read('ours', { ...reading, port: replay.port });
  const recordedBytes = replay.replays();
  const live: Rounds = { ours: [], peer: [] };
  const recording: Rounds = { ours: [], peer: [] };
  for (let round = 0; round < ROUNDS; round++) {
    await oneRound(live, reading);
    await oneRound(recording, { ...reading, port: replay.port });
  }
  return {
    kind,
    changes: CHANGES,
    recordedBytes,
    peer: PEER,
    fromRecording: compared(recording),
    fromServer: compared(live),
    load: loadAverage(),
  };
}

async function writtenLog(server: LocalServer, kind: 'mysql' | 'mariadb'): Promise<LogReading> {
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
  return {
    port: server.port,
    changes: CHANGES,
    file: String(end?.['File']),
    offset: Number(end?.['Position']),
    state: run.state,
  };
}

async function oneRound(rounds: Rounds, reading: LogReading): Promise<void> {
  rounds.ours.push(await read('ours', reading));
  const figures = await read('peer', reading).catch(withoutPeer);
  if (figures !== null) rounds.peer.push(figures);
}

function compared({ ours, peer }: Rounds): Record<string, unknown> {
  const mine = medianOf(ours);
  if (peer.length === 0) return { ours: mine };
  const theirs = medianOf(peer);
  return {
    ours: mine,
    peer: theirs,
    timesFaster: Math.round((theirs.seconds / mine.seconds) * 100) / 100,
    shareOfCpu: Math.round((mine.cpuSeconds / theirs.cpuSeconds) * 100) / 100,
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
  const figures = JSON.parse(stdout) as ReadingFigures;
  if (figures.changes !== CHANGES) throw new Error(`${who} saw ${figures.changes} changes`);
  process.stderr.write(`${who} on port ${reading.port}: ${stdout}`);
  return figures;
}

function withoutPeer(error: Error & { stderr?: string }): null {
  if (error.stderr?.includes('ERR_MODULE_NOT_FOUND') !== true) throw error;
  process.stderr.write(`not compared: npm install --no-save ${PEER}\n`);
  return null;
}

function medianOf(rounds: readonly ReadingFigures[]): Omit<ReadingFigures, 'changes'> {
  const of = (each: (figures: ReadingFigures) => number): number => median(rounds.map(each));
  return {
    seconds: of(({ seconds }) => seconds),
    cpuSeconds: of(({ cpuSeconds }) => cpuSeconds),
    perSecond: of(({ perSecond }) => perSecond),
    cpuMicrosPerChange: of(({ cpuMicrosPerChange }) => cpuMicrosPerChange),
  };
}
