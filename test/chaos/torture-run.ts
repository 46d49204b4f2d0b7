import { setTimeout as delay } from 'node:timers/promises';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { startRig, statusOf, sync, until, type Rig } from '../support/rig.ts';
import {
  appendedHistories,
  differences,
  noDifferences,
  parquetHistories,
  topicHistories,
  tornTransfers,
  truthOf,
  unequalCounts,
  unequalTables,
} from './comparison.ts';
import { unexplained } from './expected-codes.ts';
import { canaries, exposedSecrets } from './exposed-secrets.ts';
import { leaks } from './leaks.ts';
import { faultSchedule, type Fault } from './fault-schedule.ts';
import { Fleet, type InjectedFault } from './fleet.ts';
import { Watch } from './watch.ts';
import { connect, type Connected, type Connections, type Secrets } from './torture-connections.ts';
import {
  mysqlSource,
  postgresSource,
  type SourceKind,
  type TorturedSource,
} from './tortured-source.ts';
import { Workload } from './workload.ts';

export interface TortureOptions {
  readonly minutes: number;
  readonly seed: number;
  /** What is captured; Postgres where none is named. */
  readonly source?: SourceKind;
  /** Instead of the seed's schedule. */
  readonly schedule?: readonly Fault[];
  /** No columns are added: what processes grow by is then no memory of schemas. */
  readonly hasFixedSchema?: boolean;
  /** Extra settings of Headrace's processes. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Runs beside the faults of each window. */
  disturb?(rig: Rig, fleet: Fleet): Promise<void>;
  report(line: string): void;
}

export interface TortureResult extends Record<string, unknown> {
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly wrong: number;
  readonly torn: number;
  readonly stuck: number;
}

const STRESS_MS = 40_000;
/** A stopped instance may hold an open Kafka transaction for 60 s. */
const CALM_LIMIT_MS = 90_000;
const RECOVERY_LIMIT_MS = 60_000;

interface Findings {
  stuck: number;
  /** Tables that differed although their barrier was passed. */
  unequal: number;
  readonly problems: string[];
  readonly barrierMs: number[];
}

/** One whole run; the caller compares the counts with zero. */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  const windows = Math.max(1, Math.round((options.minutes * 60_000) / STRESS_MS));
  const stressMs = Math.min(STRESS_MS, options.minutes * 60_000) * windows;
  const kind = options.source ?? 'postgres';
  const schedule = options.schedule ?? faultSchedule(options.seed, stressMs, kind !== 'postgres');
  options.report(JSON.stringify({ seed: options.seed, stressMs, schedule }));
  const secrets = canaries();
  await using rig = await startRig({
    roles: [],
    withMinio: true,
    sourceSettings: { wal_sender_timeout: '10s' },
    environment: { HEADRACE_API_TOKEN: secrets.token },
  });
  const apiPort = rig.apiPort;
  await using source = kind === 'postgres' ? postgresSource(rig) : await mysqlSource(kind);
  const fleet = new Fleet(rig, source, {
    HEADRACE_STORE_URL: `postgres://postgres@127.0.0.1:${rig.target.port}/headrace_store`,
    HEADRACE_TOPIC_PARTITIONS: '2',
    HEADRACE_API_TOKEN: secrets.token,
    HEADRACE_SECRET_KEY: secrets.key,
    ...options.environment,
  });
  try {
    await source.createTables();
    await fleet.start(apiPort);
    return await tortureRig({ rig, source, fleet, secrets }, schedule, stressMs / windows, options);
  } finally {
    await fleet.end();
  }
}

interface Stage {
  readonly rig: Rig;
  readonly source: TorturedSource;
  readonly fleet: Fleet;
  readonly secrets: Secrets;
}

async function tortureRig(
  stage: Stage,
  schedule: readonly Fault[],
  windowMs: number,
  options: TortureOptions,
): Promise<TortureResult> {
  const { rig, source, fleet } = stage;
  const started = Date.now();
  const { connections, ids } = await connect(rig, source, stage.secrets);
  const findings: Findings = { stuck: 0, unequal: 0, problems: [], barrierMs: [] };
  await calm(stage, connections, findings, options);
  const workload = new Workload(() => source.open(), options);
  const watch = new Watch(
    rig,
    { sourceId: ids.sourceId, hasSlot: source.hasSlot },
    'mirror.pulse',
    'mirror.counter',
  );
  workload.start();
  watch.start();
  const injected: InjectedFault[] = [];
  const stops: Promise<unknown>[] = [];
  const last = Math.max(0, ...schedule.map((fault) => fault.atMs));
  for (let from = 0; from <= last; from += windowMs) {
    const due = schedule.filter(({ atMs }) => atMs >= from && atMs < from + windowMs);
    await Promise.all([
      stress(fleet, due, from, { injected, stops, report: options.report }),
      options.disturb?.(rig, fleet),
    ]);
    await until(
      'what is written after the last fault',
      async () => injected.every((fault) => watch.recoveryMs(fault) !== null),
      RECOVERY_LIMIT_MS,
    ).catch(() => undefined);
    await workload.pause();
    await calm(stage, connections, findings, options);
    workload.resume();
  }
  await Promise.all(stops);
  await delay(2_000);
  await workload.end();
  await calm(stage, connections, findings, options);
  await watch.end();
  const minutes = (Date.now() - started) / 60_000;
  return { minutes, ...(await verdict(stage, { workload, watch, injected, findings, ids })) };
}

/** Injects each fault at its time; waits for all but the long stops to be over. */
async function stress(
  fleet: Fleet,
  faults: readonly Fault[],
  from: number,
  run: {
    injected: InjectedFault[];
    stops: Promise<unknown>[];
    report(line: string): void;
  },
): Promise<void> {
  const started = Date.now() - from;
  const pending: Promise<unknown>[] = [];
  for (const fault of faults) {
    await delay(Math.max(0, started + fault.atMs - Date.now()));
    run.report(
      `${fault.kind} ${fault.component} (${fault.instance}), ${fault.downMs} ms at ${fault.atMs}`,
    );
    const over = injectInto(run.injected, fleet, fault);
    (fault.downMs > 20_000 ? run.stops : pending).push(over);
  }
  await Promise.all(pending);
}

async function injectInto(injected: InjectedFault[], fleet: Fleet, fault: Fault): Promise<void> {
  const done = await fleet.inject(fault);
  injected.push(done);
}

/** Nobody writes: the barrier must be passed, and everything must be equal. */
async function calm(
  { rig, source }: Stage,
  connections: Connections,
  findings: Findings,
  options: TortureOptions,
): Promise<void> {
  const started = Date.now();
  const late = new Set<string>();
  for (const [name, id] of Object.entries(connections)) {
    const left = CALM_LIMIT_MS - (Date.now() - started);
    try {
      await until(`the barrier of ${name}`, () => passed(rig, id), Math.max(5_000, left));
    } catch (error) {
      findings.stuck++;
      late.add(name);
      const status = await statusOf(rig, id).catch(() => null);
      findings.problems.push(`${(error as Error).message}: ${JSON.stringify(status)}`);
    }
  }
  findings.barrierMs.push(Date.now() - started);
  const mirror = await unequalTables(rig, source, 'mirror');
  const history = await unequalCounts(rig, source, 'history');
  if (!late.has('mirror')) findings.unequal += mirror.length;
  if (!late.has('history')) findings.unequal += history.length;
  const unequal = [...mirror, ...history];
  findings.problems.push(...unequal);
  options.report(
    `calm: barriers passed after ${Date.now() - started} ms, ${unequal.length} differences ${unequal.join('; ')}`,
  );
}

/** A job that was under way before the writers rested proves nothing: its end is waited for. */
async function passed(rig: Rig, connectionId: string): Promise<boolean> {
  return (await sync(rig, connectionId, CALM_LIMIT_MS)).job.status === 'succeeded';
}

interface Evidence {
  readonly workload: Workload;
  readonly watch: Watch;
  readonly injected: readonly InjectedFault[];
  readonly findings: Findings;
  readonly ids: Connected['ids'];
}

async function verdict(stage: Stage, evidence: Evidence): Promise<TortureResult> {
  const { rig, source, fleet } = stage;
  const { workload, watch, injected, findings } = evidence;
  const truth = await truthOf(source);
  const topics = await topicHistories(rig, source.namespace);
  const found = noDifferences();
  const copies = {
    topics: topics.histories,
    history: await appendedHistories(rig.target, 'history'),
    lake: await parquetHistories(rig.minio as LocalServer, 'data'),
  };
  for (const [name, copy] of Object.entries(copies)) {
    const inThisOne = differences(truth, copy);
    if (Object.values(inThisOne).some((count) => count > 0)) {
      findings.problems.push(`${name}: ${JSON.stringify(inThisOne)}`);
    }
    differences(truth, copy, found);
  }
  found.torn += await tornTransfers(rig.target, 'history');
  found.reordered += topics.notRising + watch.figures.wentBack;
  found.wrong += findings.problems.length > 0 && isClean(found) ? findings.problems.length : 0;
  const left = await leaks(rig, source);
  const strange = unexplained(fleet.logs(), injected);
  const exposed = await exposedSecrets({ rig, fleet, secrets: stage.secrets, ids: evidence.ids });
  findings.problems.push(...strange, ...exposed.map((each) => `secret ${each}`));
  findings.problems.push(...left.map((each) => `left over: ${each}`));
  const recoveries = injected.map((fault) => watch.recoveryMs(fault));
  const seconds = recoveries.filter((ms) => ms !== null).toSorted((a, b) => a - b);
  const late = seconds.filter((ms) => ms > RECOVERY_LIMIT_MS).length;
  return {
    ...workload.figures,
    events: topics.events,
    faults: injected.length,
    kills: countBy(injected.filter(({ kind }) => kind === 'kill')),
    stops: countBy(injected.filter(({ kind }) => kind === 'stop')),
    recoveryMedianMs: seconds[Math.floor(seconds.length / 2)] ?? null,
    recoveryMaxMs: seconds.at(-1) ?? null,
    slowest: slowest(injected, recoveries),
    barrierMaxMs: Math.max(...findings.barrierMs),
    peakMb: Object.fromEntries(fleet.peakMb),
    growthMbPerMinute: fleet.growthMbPerMinute(),
    exits: fleet.exits.map(({ role, code }) => `${role}: ${code}`),
    codes: codesIn(fleet.logs()),
    ...watch.figures,
    ...found,
    unequal: findings.unequal,
    leaked: left.length,
    unexplained: strange.length,
    exposed: exposed.length,
    stuck: findings.stuck + late + (recoveries.length - seconds.length),
    problems: findings.problems.slice(0, 20),
  };
}

function isClean(found: object): boolean {
  return Object.values(found).every((count) => count === 0);
}

/** The faults that took longest to recover from. */
function slowest(
  faults: readonly InjectedFault[],
  recoveries: readonly (number | null)[],
): string[] {
  return faults
    .map((fault, i) => ({ fault, ms: recoveries[i] ?? Infinity }))
    .toSorted((a, b) => b.ms - a.ms)
    .slice(0, 3)
    .map(({ fault, ms }) => {
      const { kind, component, instance, atMs, downMs } = fault;
      return `${ms} ms: ${kind} ${component} (${instance}) for ${downMs} ms at ${atMs}`;
    });
}

function countBy(faults: readonly InjectedFault[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { component } of faults) counts[component] = (counts[component] ?? 0) + 1;
  return counts;
}

/** How often each code was logged, by all processes together. */
function codesIn(logs: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, code] of logs.matchAll(/"code":"([A-Z]+_[A-Z_]+)"/g)) {
    counts[code as string] = (counts[code as string] ?? 0) + 1;
  }
  return counts;
}
