import { statusOf, type Rig } from '../support/rig.ts';

type Spent = Readonly<Record<string, number>>;

/** By worker, the share of its time that each stage took. */
export type StageShares = Readonly<Record<string, Readonly<Record<string, number>>>>;

/**
 * Where the workers of some connections, which have one source, spend their time from now on: the
 * source waits for the log, encodes, or writes to Kafka; a sink waits for Kafka, or writes. The
 * function that this answers tells the shares up to then.
 */
export async function watchStages(
  rig: Rig,
  connections: Readonly<Record<string, string>>,
): Promise<() => Promise<StageShares>> {
  const before = await spentOf(rig, connections);
  const started = performance.now();
  return async () => {
    const now = await spentOf(rig, connections);
    const elapsed = performance.now() - started;
    return Object.fromEntries(
      Object.entries(now).map(([worker, spent]) => {
        // A worker that was started anew counts from its start.
        const isNew = total(spent) <= elapsed;
        return [worker, shares(spent, isNew ? {} : (before[worker] ?? {}))];
      }),
    );
  };
}

async function spentOf(rig: Rig, connections: Readonly<Record<string, string>>) {
  const spent: Record<string, Spent> = {};
  for (const [name, connectionId] of Object.entries(connections)) {
    const { sourceReport, connectionReport } = await statusOf(rig, connectionId);
    const { read = 0, encode = 0, kafka = 0 } = sourceReport?.stageMs ?? {};
    spent['source'] = { waiting: read, encode, kafka };
    const { kafka: waiting = 0, write = 0 } = connectionReport?.stageMs ?? {};
    spent[name] = { waiting, write };
  }
  return spent;
}

function shares(now: Spent, before: Spent): Record<string, number> {
  const all = total(now) - total(before);
  const shareOf = (stage: string, ms: number): number =>
    all <= 0 ? 0 : Math.round(((ms - (before[stage] ?? 0)) / all) * 1000) / 1000;
  return Object.fromEntries(Object.entries(now).map(([stage, ms]) => [stage, shareOf(stage, ms)]));
}

function total(spent: Spent): number {
  return Object.values(spent).reduce((sum, ms) => sum + ms, 0);
}
