import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import type { StreamVerdict } from '../../services/verify/verify-connection.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { loadAverage } from './process-figures.ts';

const ROWS = Number(process.env['BENCH_ROWS'] ?? 1_000_000);
const CLEAN_RUNS = Number(process.env['BENCH_RUNS'] ?? 10);
const WRITES_PER_SECOND = Number(process.env['BENCH_RATE'] ?? 200);
/** Keys that the writers leave alone. */
const DELETED = [5, 500_005, 999_995].map((key) => Math.min(key, ROWS - 5));
const CORRUPTED = [15, 700_015].map((key) => Math.min(key, ROWS - 15));

interface Run {
  readonly seconds: number;
  readonly verdict: StreamVerdict;
}

/**
 * `verify` of a table of a million rows while it is written to: ten times as it is, then once with 3
 * rows deleted and 2 corrupted by hand in the copy. `rereadShare` is what both sides read a second
 * time, of the rows of both.
 */
export async function verify(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await query(rig.source, TABLE);
  await query(rig.source, FILL);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId, 900_000);
  const load = startLoad(rig.source);
  try {
    const clean: Run[] = [];
    for (let run = 0; run < CLEAN_RUNS; run++) clean.push(await verified(rig, connectionId));
    await query(rig.target, `delete from orders where id = any($1)`, [DELETED]);
    await query(rig.target, `update orders set note = note || '.' where id = any($1)`, [CORRUPTED]);
    const damaged = await verified(rig, connectionId);
    return { ...figures(clean, damaged), writesPerSecond: load.rate(), load: loadAverage() };
  } finally {
    await load.stop();
  }
}

const TABLE = `create table orders (id bigint primary key, customer int, amount numeric(12,2), paid boolean,
  status varchar(20), note text, created_at timestamptz, updated_at timestamptz)`;
const FILL = `insert into orders select i, i % 1000, i / 7.0, i % 2 = 0, 'open', repeat('n', 136), now(), now()
  from generate_series(1, ${ROWS}) i`;

async function verified(rig: Rig, connectionId: string): Promise<Run> {
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${rig.apiPort}/api/v1/connections/verify`, {
    method: 'POST',
    body: JSON.stringify({ connectionId }),
  });
  const verdict = JSON.parse(await response.text()) as StreamVerdict;
  if (verdict.missing === undefined) throw new Error(JSON.stringify(verdict));
  return { seconds: (performance.now() - started) / 1000, verdict };
}

function figures(clean: readonly Run[], damaged: Run): Record<string, unknown> {
  const wrong = ({ missing, extra, different }: StreamVerdict): number =>
    missing.length + extra.length + different.length;
  const share = ({ verdict }: Run): number =>
    Math.round((verdict.reread / (2 * verdict.rows)) * 1e5) / 1e5;
  const seconds = clean.map((run) => run.seconds).toSorted((a, b) => a - b);
  const { missing, extra, different } = damaged.verdict;
  return {
    rows: damaged.verdict.rows,
    cleanRuns: clean.length,
    falseAlarms: clean.reduce((sum, run) => sum + wrong(run.verdict), 0),
    unsettled: clean.reduce((sum, run) => sum + run.verdict.unsettled.length, 0),
    secondsMedian: Math.round((seconds[seconds.length >> 1] ?? 0) * 10) / 10,
    rereadShareMaximum: Math.max(...clean.map(share)),
    damaged: {
      missing: missing.map(String),
      extra: extra.map(String),
      different: different.map(String),
      exact: sameKeys(missing, DELETED) && sameKeys(different, CORRUPTED) && extra.length === 0,
      rereadShare: share(damaged),
      seconds: Math.round(damaged.seconds * 10) / 10,
    },
  };
}

function sameKeys(found: StreamVerdict['missing'], wanted: readonly number[]): boolean {
  return found.map(String).toSorted().join() === wanted.map(String).toSorted().join();
}

/** Updates, inserts and deletes all over the table, one row each. */
function startLoad(server: LocalServer): { stop(): Promise<void>; rate(): number } {
  const started = performance.now();
  let stopped = false;
  let writes = 0;
  const writing = (async () => {
    const client = await connectTo(server);
    const any = (): number => 10 * Math.floor(Math.random() * (ROWS / 10)) + 1;
    let next = ROWS + 1;
    while (!stopped) {
      const dice = Math.random();
      if (dice < 0.6) {
        await client.query(`update orders set status = 'paid', updated_at = now() where id = $1`, [
          any(),
        ]);
      } else if (dice < 0.8) await client.query(`delete from orders where id = $1`, [any() + 1]);
      else await client.query(`insert into orders values ($1, 1, 2, true, 'new')`, [next++]);
      writes++;
      const ahead = (writes * 1000) / WRITES_PER_SECOND - (performance.now() - started);
      if (ahead > 0) await delay(ahead);
    }
    await client.end();
  })();
  return {
    stop: async () => {
      stopped = true;
      await writing;
    },
    rate: () => Math.round((writes * 1000) / (performance.now() - started)),
  };
}
