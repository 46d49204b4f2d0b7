import type { Rig } from '../support/rig.ts';

/** Histograms of one process in which both source and sink run. */
const HISTOGRAMS = {
  source: 'headrace_source_delay_seconds',
  transaction: 'headrace_kafka_transaction_seconds',
  sink: 'headrace_sink_delay_seconds',
  write: 'headrace_sink_write_seconds',
} as const;

type Sums = Record<keyof typeof HISTOGRAMS, { readonly seconds: number; readonly count: number }>;

/** Where the time goes from a commit at the source until its row is durable. */
export interface DelayStages {
  readonly meanMs: Readonly<Record<string, number>>;
  readonly share: Readonly<Record<string, number>>;
  /** Per second. */
  readonly kafkaTransactions: number;
  readonly targetTransactions: number;
}

/**
 * The mean delay of the newest row of each transaction, by stage: from commit until it was decoded and
 * the Kafka transaction before had ended; that row's Kafka transaction; fetched, and until the write
 * before had ended; its own write. The function that this answers tells of the time up to then.
 */
export async function watchDelays(rig: Rig): Promise<() => Promise<DelayStages>> {
  const before = await sumsOf(rig);
  const started = performance.now();
  return async () => {
    const now = await sumsOf(rig);
    const seconds = (performance.now() - started) / 1000;
    const count = (of: keyof Sums): number => now[of].count - before[of].count;
    const mean = (of: keyof Sums): number =>
      ((now[of].seconds - before[of].seconds) * 1000) / count(of);
    const stages = {
      read: mean('source') - mean('transaction'),
      kafka: mean('transaction'),
      fetch: mean('sink') - mean('write') - mean('source'),
      write: mean('write'),
    };
    return {
      meanMs: each(stages, (ms) => Math.round(ms * 100) / 100),
      share: each(stages, (ms) => Math.round((ms / mean('sink')) * 1000) / 1000),
      kafkaTransactions: Math.round(count('transaction') / seconds),
      targetTransactions: Math.round(count('write') / seconds),
    };
  };
}

function each(stages: Record<string, number>, of: (ms: number) => number) {
  return Object.fromEntries(Object.entries(stages).map(([stage, ms]) => [stage, of(ms)]));
}

async function sumsOf(rig: Rig): Promise<Sums> {
  const text = await (await fetch(`http://127.0.0.1:${rig.apiPort}/metrics`)).text();
  const sum = (name: string): number => {
    const lines = text.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'));
    return [...lines].reduce((total, [, value]) => total + Number(value), 0);
  };
  return Object.fromEntries(
    Object.entries(HISTOGRAMS).map(([key, name]) => [
      key,
      { seconds: sum(`${name}_sum`), count: sum(`${name}_count`) },
    ]),
  ) as Sums;
}
