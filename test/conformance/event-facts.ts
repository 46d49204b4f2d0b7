import type { SeenEnvelope } from '../integration/sources/postgres/capture-harness.ts';

export function plain(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'bigint' ? `${each}n` : Object.is(each, -0) ? '-0' : each,
  );
}

/** What all dedupe rests on: unique among the events of the log. */
export function identityOf({ source }: SeenEnvelope): string {
  return plain([source['epoch'], source['lsn'], source['seq']]);
}

/** Whether each event is newer than the one before it, as destinations compare two of one epoch. */
export function eachNewer(events: readonly SeenEnvelope[]): boolean {
  const ages = events.map(
    ({ source }) => [BigInt(source['lsn'] as number), source['seq']] as const,
  );
  return ages.every(([lsn, seq], i) => {
    const [lsnBefore, seqBefore] = ages[i - 1] ?? [-1n, 0];
    return lsn > lsnBefore || (lsn === lsnBefore && Number(seq) > Number(seqBefore));
  });
}

/** The rows `id, n` that a topic's events leave, by key. */
export function tableOf(events: readonly SeenEnvelope[]): Map<string, string> {
  const rows = new Map<string, string>();
  for (const { op, before, after } of events) {
    if (op === 't') rows.clear();
    else if (op === 'd') rows.delete(String(before?.['id']));
    else rows.set(String(after?.['id']), String(after?.['n']));
  }
  return rows;
}

/** Where events miss or repeat a change: each update counts its row's `n` up by one. */
export function miscounted(events: readonly SeenEnvelope[]): string[] {
  const wrong: string[] = [];
  const seen = new Set<string>();
  const counts = new Map<string, number>();
  for (const event of events) {
    const { op, after } = event;
    const id = String(after?.['id']);
    const n = Number(after?.['n']);
    if (op === 'u' && n !== (counts.get(id) ?? NaN) + 1) {
      wrong.push(`${id}: ${n} behind ${counts.get(id)}`);
    }
    if (op !== 'r' && seen.has(identityOf(event))) wrong.push(`${identityOf(event)} twice`);
    seen.add(identityOf(event));
    counts.set(id, n);
  }
  return wrong;
}
