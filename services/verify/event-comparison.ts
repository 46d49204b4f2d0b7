import type {
  AppendedCopy,
  AppendedRow,
  AppendedView,
  KeyText,
} from '../../connectors/spi/comparison.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { keptRows } from './kept-events.ts';
import type { TableFindings } from './table-comparison.ts';
import type { Fault } from './suspects.ts';

const OFFSETS_PER_RANGE = 1_000;
const MAX_FAULTS = 20_000;
/** Compares a copy that has a row per event, or per event that is kept, with the topic, up to what the
 * copy says is durable in it. */
export async function compareEvents(
  kafka: KafkaClient,
  topic: string,
  copy: AppendedCopy,
  view: AppendedView,
): Promise<TableFindings> {
  const { events, isCompared } = await keptRows(kafka, topic, view, copy);
  const wanted = await digestOf(events(), isCompared);
  const found = await digestOf(view.rows(), isCompared);
  const differing = new Set(
    [...new Set([...wanted.ranges.keys(), ...found.ranges.keys()])].filter(
      (range) => !isSame(wanted.ranges.get(range), found.ranges.get(range)),
    ),
  );
  const faults: { key: KeyText; fault: Fault }[] = [];
  let reread = 0;
  if (differing.size > 0) {
    const among = (row: AppendedRow): boolean => isCompared(row) && differing.has(rangeOf(row));
    const there = await collected(events(), among);
    const here = await collected(view.rows(), among);
    reread = there.rows + here.rows;
    faults.push(...faultsBetween(there.events, here.events));
  }
  const repeatedKeys = await view.repeatedKeys?.();
  return {
    ...(repeatedKeys === undefined ? {} : { repeatedKeys }),
    rows: wanted.rows,
    ranges: wanted.ranges.size,
    differingRanges: differing.size,
    reread,
    faults: faults.slice(0, MAX_FAULTS),
    unsettled: [],
    more: faults.length > MAX_FAULTS,
  };
}

interface Digest {
  rows: number;
  high: number;
  low: number;
}

function isSame(one: Digest | undefined, other: Digest | undefined): boolean {
  return one?.rows === other?.rows && one?.high === other?.high && one?.low === other?.low;
}

function rangeOf({ partition, offset }: AppendedRow): string {
  return `${partition}:${Math.floor(offset / OFFSETS_PER_RANGE)}`;
}

async function digestOf(
  batches: AsyncIterable<readonly AppendedRow[]>,
  isInside: (row: AppendedRow) => boolean,
): Promise<{ rows: number; ranges: Map<string, Digest> }> {
  const ranges = new Map<string, Digest>();
  let rows = 0;
  for await (const batch of batches) {
    for (const row of batch) {
      if (!isInside(row)) continue;
      rows++;
      const name = rangeOf(row);
      let digest = ranges.get(name);
      if (digest === undefined) ranges.set(name, (digest = { rows: 0, high: 0, low: 0 }));
      add(digest, `${row.offset}:${row.identity}`);
    }
  }
  return { rows, ranges };
}

/** Two sums of 32 bits, which do not depend on the order. */
function add(digest: Digest, text: string): void {
  let [high, low] = [0x811c9dc5, 0x9747b28c];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x85ebca6b);
    low ^= low >>> 13;
  }
  digest.rows++;
  digest.high = (digest.high + (high ^ (high >>> 15))) | 0;
  digest.low = (digest.low + low) | 0;
}

/** Identities by `partition:offset`; several where a row is there more than once. */
async function collected(
  batches: AsyncIterable<readonly AppendedRow[]>,
  isAmong: (row: AppendedRow) => boolean,
): Promise<{ rows: number; events: Map<string, string[]> }> {
  const events = new Map<string, string[]>();
  let rows = 0;
  for await (const batch of batches) {
    for (const row of batch) {
      if (!isAmong(row)) continue;
      rows++;
      const name = `${row.partition}:${row.offset}`;
      events.set(name, [...(events.get(name) ?? []), row.identity]);
    }
  }
  return { rows, events };
}

/** Keys are partition and offset; a row that is there twice is extra. */
function faultsBetween(
  there: ReadonlyMap<string, readonly string[]>,
  here: ReadonlyMap<string, readonly string[]>,
): { key: KeyText; fault: Fault }[] {
  const faults: { key: KeyText; fault: Fault }[] = [];
  for (const name of new Set([...there.keys(), ...here.keys()])) {
    const [wanted] = there.get(name) ?? [];
    const had = here.get(name) ?? [];
    const key = name.split(':');
    if (wanted === undefined || had.length > 1) faults.push({ key, fault: 'extra' });
    else if (had.length === 0) faults.push({ key, fault: 'missing' });
    if (wanted !== undefined && had.some((each) => each !== wanted)) {
      faults.push({ key, fault: 'different' });
    }
  }
  return faults;
}
