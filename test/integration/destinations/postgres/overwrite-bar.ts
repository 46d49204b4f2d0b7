/**
 * Whole copies of a large table, over and over, by writers that are killed at random moments, under a
 * view, a grant and a polling reader: `node test/integration/destinations/postgres/overwrite-bar.ts
 * [rows] [kills]`. Fails when the reader sees anything but whole copies, or fewer rows than the smaller
 * one. One JSON object as last line.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { postgresContext } from '../../../support/contexts.ts';
import { EventLog, overwritten, type Columns } from './event-log.ts';
import { newTarget, openTarget, type TestTarget } from './target.ts';

const COLUMNS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  copy: { kind: 'int32', native: 'integer' },
  note: { kind: 'string', native: 'text' },
};
const BATCH = 20_000;

/** A copy and the next one differ in size, so that a mixture would show. */
function sizeOf(copy: number, rows: number): number {
  return copy % 2 === 0 ? rows : Math.floor(rows * 0.9);
}

function fill(log: EventLog, copy: number, rows: number): void {
  log.beginGeneration(copy);
  for (let id = 0; id < sizeOf(copy, rows); id++) log.copied({ id, copy, note: `row ${id}` }, copy);
  log.endGeneration(copy);
}

/** In a process of its own: delivers copies 1, 2, ... from where the target stands. */
async function write(config: Record<string, unknown>, rows: number): Promise<void> {
  await using target = await openTarget(config);
  const stream = overwritten('t');
  for (let copy = 1; ; copy++) {
    const firstOffset = (copy - 1) * (rows + 2);
    const log = new EventLog(target.schemas, stream, COLUMNS, { firstOffset });
    const writer = target.writer();
    const stored = (await writer.open(log.target)) ?? 0;
    if (stored < firstOffset + rows + 2) {
      fill(log, copy, rows);
      log.skipOffsets(firstOffset + rows + 2 - log.end);
      const from = Math.max(0, stored - firstOffset);
      for (let at = Math.min(from, log.count - 1); at < log.count; at += BATCH) {
        await writer.write([log.batch(at, Math.min(log.count, at + BATCH))]);
      }
      process.send?.({ copy });
    }
    await writer.close();
  }
}

async function main(rows: number, kills: number): Promise<void> {
  await using server = await postgresContext();
  await using target = await newTarget(server);
  const started = performance.now();
  let delivered = 0;
  let killed = 0;
  let writer: ChildProcess | null = null;
  const start = (): ChildProcess => {
    writer = fork(import.meta.filename, ['write', String(rows)], { env: process.env });
    writer.send(target.config);
    writer.on('message', ({ copy }: { copy: number }) => (delivered = Math.max(delivered, copy)));
    return writer;
  };
  start();
  while (delivered < 1) await delay(100);
  const firstCopyMs = performance.now() - started;
  await target.sql.query('CREATE VIEW v AS SELECT copy, id FROM t');
  await target.sql.query('CREATE ROLE bar_reader LOGIN');
  await target.sql.query('GRANT SELECT ON v, t TO bar_reader');
  const polling = poll(target, rows);
  while (killed < kills) {
    await delay(200 + Math.random() * 0.8 * firstCopyMs);
    const dead = writer as unknown as ChildProcess;
    dead.kill('SIGKILL');
    await once(dead, 'exit');
    killed++;
    start();
  }
  const goal = delivered + 2;
  while (delivered < goal) await delay(100);
  const last = writer as unknown as ChildProcess;
  last.kill('SIGKILL');
  await once(last, 'exit');
  const { polls, copies, wrong } = await polling.stop();
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(
    JSON.stringify({ rows, killed, delivered, polls, copies: copies.size, wrong, seconds }),
  );
  await target.sql.query('DROP OWNED BY bar_reader; DROP ROLE bar_reader');
  process.exitCode = wrong === 0 && copies.size > 1 ? 0 : 1;
}

/** Reads through the view, as the role that was granted it. */
function poll(target: TestTarget, rows: number) {
  const { host, port, database } = target.config as {
    host: string;
    port: number;
    database: string;
  };
  let done = false;
  const seen = { polls: 0, copies: new Set<number>(), wrong: 0 };
  const running = (async () => {
    const reader = new Client({ host, port, database, user: 'bar_reader' });
    await reader.connect();
    while (!done) {
      const { rows: answer } = await reader.query(
        'SELECT copy, count(*)::int AS n FROM v GROUP BY copy',
      );
      const [only] = answer as { copy: number; n: number }[];
      seen.polls++;
      if (answer.length !== 1 || only?.n !== sizeOf(only?.copy ?? 0, rows)) seen.wrong++;
      if (only !== undefined) seen.copies.add(only.copy);
    }
    await reader.end();
  })();
  return {
    async stop() {
      done = true;
      await running;
      return seen;
    },
  };
}

const [first, second] = process.argv.slice(2);
if (first === 'write') {
  const [config] = (await once(process, 'message')) as [Record<string, unknown>];
  await write(config, Number(second));
} else {
  await main(Number(first ?? 1_000_000), Number(second ?? 10));
}
