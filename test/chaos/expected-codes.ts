import type { Component } from './fault-schedule.ts';
import type { InjectedFault } from './fleet.ts';

/** What each fault may make the program say. Anything else is a finding: a code that sends a person to
 * look after something that mends itself is wrong, even if nothing is lost by it. */
const EXPECTED: Readonly<Record<Component, readonly string[]>> = {
  source: ['KAFKA_REOPEN', 'SRC_SLOT_BUSY', 'SRC_SLOT_WAIT', 'SRC_CONNECTION_LOST'],
  sink: ['DST_BLOCKED', 'DST_UNAVAILABLE'],
  scheduler: [],
  api: [],
  broker: ['KAFKA_UNAVAILABLE', 'KAFKA_REOPEN', 'SCH_REGISTRY_UNAVAILABLE'],
  sourceDb: ['SRC_UNREACHABLE', 'SRC_CONNECTION_LOST', 'SRC_SLOT_BUSY', 'SRC_SLOT_WAIT'],
  sourceLink: ['SRC_UNREACHABLE', 'SRC_CONNECTION_LOST'],
  targetDb: ['DST_UNAVAILABLE', 'DST_BLOCKED', 'CFG_STORE_UNAVAILABLE'],
  minio: ['DST_UNAVAILABLE'],
};

/** A machine that is too busy to renew a lease in time has the effect of a stop: the one that was
 * replaced learns of it. */
const ALWAYS = ['KAFKA_FENCED', 'SNK_FENCED'];

/** Servers that are in use at every moment: while one is away for long somebody has to say so. */
const ALARM: Partial<Record<Component, RegExp>> = {
  sourceDb: /^SRC_/,
  broker: /^KAFKA_/,
  targetDb: /^(DST_|CFG_STORE_)/,
};

/** One that is back sooner may have been missed by nobody: a client asks again a few times by itself.
 * One that is gone again sooner may have been seen by nobody. */
const ALARM_AFTER_MS = 5_000;
/** After the server is back: what waited for an answer is told after its own limit of time. */
const ALARM_WITHIN_MS = 30_000;

interface Said {
  readonly code: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** Codes that none of the faults explains, and faults of which nobody said anything (invariant I11). */
export function unexplained(logs: string, faults: readonly InjectedFault[]): string[] {
  const said = codesSaid(logs);
  const explained = new Set([...ALWAYS, ...faults.flatMap(({ component }) => EXPECTED[component])]);
  const strange = new Set(said.map(({ code }) => code).filter((code) => !explained.has(code)));
  return [
    ...[...strange].map((code) => `${code} was logged, which no fault explains`),
    ...outages(faults)
      .filter((outage) => isSilent(outage, said))
      .map(silence),
  ];
}

type Outage = Pick<InjectedFault, 'component' | 'atMs' | 'beganAt' | 'endedAt'>;

/** Faults of a server that follow each other closely are one outage: who waits has said so once. */
function outages(faults: readonly InjectedFault[]): Outage[] {
  const last = new Map<Component, Outage>();
  const found: Outage[] = [];
  for (const fault of faults.toSorted((a, b) => a.beganAt - b.beganAt)) {
    const before = last.get(fault.component);
    if (before !== undefined && fault.beganAt - before.endedAt < ALARM_AFTER_MS) {
      before.endedAt = Math.max(before.endedAt, fault.endedAt);
      continue;
    }
    const outage = { ...fault };
    last.set(fault.component, outage);
    found.push(outage);
  }
  return found;
}

function isSilent(outage: Outage, said: readonly Said[]): boolean {
  const alarm = ALARM[outage.component];
  if (alarm === undefined || outage.endedAt - outage.beganAt < ALARM_AFTER_MS) return false;
  const to = outage.endedAt + ALARM_WITHIN_MS;
  return !said.some(({ code, at }) => at >= outage.beganAt && at <= to && alarm.test(code));
}

function silence({ component, atMs }: Outage): string {
  return `nobody said that ${component} was away at ${atMs}`;
}

/** From JSON lines, each with its time. */
function codesSaid(logs: string): Said[] {
  const said: Said[] = [];
  for (const line of logs.split('\n')) {
    const [, code] = /"code":"([A-Z]+_[A-Z_]+)"/.exec(line) ?? [];
    const [, time] = /"time":"([^"]+)"/.exec(line) ?? [];
    if (code !== undefined && time !== undefined) said.push({ code, at: Date.parse(time) });
  }
  return said;
}
