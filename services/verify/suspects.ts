import { setTimeout as delay } from 'node:timers/promises';
import type {
  DestinationView,
  KeyText,
  RowDigest,
  SourceView,
} from '../../connectors/spi/comparison.ts';

/** What is wrong with a key at the destination. */
export type Fault = 'missing' | 'extra' | 'different';

export interface Settled {
  readonly faults: ReadonlyMap<string, Fault>;
  /** Keys that changed at each look. */
  readonly unsettled: readonly string[];
  /** Rows that were read for it, on both sides. */
  readonly reread: number;
}

export interface BothSides {
  /** Looks at the source now. */
  source<T>(work: (view: SourceView) => Promise<T>): Promise<T>;
  /** The source's rows as they are now. */
  rowsNow(keys: readonly KeyText[]): Promise<RowDigest[]>;
  /** Looks at the destination when it holds everything up to the position. */
  destination<T>(
    position: string,
    since: string,
    work: (view: DestinationView) => Promise<T>,
  ): Promise<T>;
}

/** Each round waits until the destination has caught up once more. */
const MAX_ROUNDS = 12;
/** A fault is believed when it is seen as often in a row. */
const CONFIRMATIONS = 2;
/** The source is looked at again and again while the destination catches up, so that the version that
 * the destination then shows is among those seen: one row of the source per millisecond. */
const PAUSE_PER_KEY_MS = 1;
const SHORTEST_PAUSE_MS = 5;
/** A few keys that change all the time are caught by looking at the destination as often. */
const FEW_KEYS = 20;
const LOOKS_AT_FEW = 40;
const KEYS_PER_LOOK = 5_000;

export function keyName(key: KeyText): string {
  return JSON.stringify(key);
}

/**
 * Decides about keys whose rows did not agree, which may have been changed while they were looked at.
 *
 * A key is equal when the destination, having caught up with a look at the source, shows a row that
 * the source had at that look or a later one. It is at fault when the source's row was the same
 * version before and after the look at the destination, no transaction under way had hold of it, and
 * the destination's row is not from an event that is newer than the first of the two looks; twice.
 * Anything else is looked at again.
 */
export async function settle(sides: BothSides, names: readonly string[]): Promise<Settled> {
  const faults = new Map<string, Fault>();
  const unsettled: string[] = [];
  let reread = 0;
  for (let from = 0; from < names.length; from += KEYS_PER_LOOK) {
    const part = names.slice(from, from + KEYS_PER_LOOK);
    const settled = await settlePart(sides, part, faults);
    unsettled.push(...settled.unsettled);
    reread += settled.reread;
  }
  return { faults, unsettled, reread };
}

interface Doubt {
  readonly key: KeyText;
  fault: Fault | null;
  seen: number;
}

async function settlePart(
  sides: BothSides,
  names: readonly string[],
  faults: Map<string, Fault>,
): Promise<{ unsettled: string[]; reread: number }> {
  let doubts: Doubt[] = names.map((name) => ({
    key: JSON.parse(name) as KeyText,
    fault: null,
    seen: 0,
  }));
  let reread = 0;
  for (let round = 0; round < MAX_ROUNDS && doubts.length > 0; round++) {
    const evidence = await gather(
      sides,
      doubts.map(({ key }) => key),
    );
    reread += evidence.reread;
    doubts = doubts.filter((doubt) => {
      const verdict = evidence.verdict(doubt.key);
      if (verdict === 'equal') return false;
      doubt.seen = verdict === doubt.fault ? doubt.seen + 1 : 1;
      doubt.fault = verdict === 'unclear' ? null : verdict;
      if (doubt.fault === null || doubt.seen < CONFIRMATIONS) return true;
      faults.set(keyName(doubt.key), doubt.fault);
      return false;
    });
  }
  return { unsettled: doubts.map(({ key }) => keyName(key)), reread };
}

/** One round: the source all the time, and the destination once it has caught up with its first look. */
async function gather(sides: BothSides, keys: readonly KeyText[]): Promise<Evidence> {
  const evidence = new Evidence();
  const first = await sides.source(async (view) => {
    evidence.sourceLook(await view.rowsOfKeys(keys));
    return { since: view.since, position: await view.position() };
  });
  const watch = watchSource(sides, keys, evidence);
  try {
    const looks = keys.length <= FEW_KEYS ? LOOKS_AT_FEW : 1;
    for (let look = 0; look < looks && !evidence.isEqual(keys); look++) {
      await sides.destination(first.position, first.since, async (view) =>
        evidence.destinationLook(await view.rowsOfKeys(keys)),
      );
    }
  } finally {
    await watch.end();
  }
  return evidence;
}

/** Looks until it is ended, and once more then. */
function watchSource(
  sides: BothSides,
  keys: readonly KeyText[],
  evidence: Evidence,
): { end(): Promise<void> } {
  const ended = new AbortController();
  const pauseMs = Math.max(SHORTEST_PAUSE_MS, keys.length * PAUSE_PER_KEY_MS);
  const watching = (async () => {
    for (let last = false; !last;) {
      await delay(pauseMs, undefined, { signal: ended.signal }).catch(() => undefined);
      last = ended.signal.aborted;
      evidence.sourceLook(await sides.rowsNow(keys));
    }
  })();
  // Whoever ends it hears of its failure.
  watching.catch(() => undefined);
  return {
    end: () => {
      ended.abort();
      return watching;
    },
  };
}

/** What one round of looks has shown. */
class Evidence {
  reread = 0;
  private readonly sourceLooks: Map<string, RowDigest>[] = [];
  private readonly destinationLooks: Map<string, RowDigest>[] = [];

  sourceLook(rows: readonly RowDigest[]): void {
    this.sourceLooks.push(this.byKey(rows));
  }

  destinationLook(rows: readonly RowDigest[]): void {
    this.destinationLooks.push(this.byKey(rows));
  }

  verdict(key: KeyText): Fault | 'equal' | 'unclear' {
    const name = keyName(key);
    const there = this.sourceLooks.map((look) => look.get(name));
    const here = this.destinationLooks.map((look) => look.get(name));
    const hashes = new Set(there.map((row) => row?.hash));
    if (here.some((row) => hashes.has(row?.hash))) return 'equal';
    const [row] = there;
    const still = there.every((each) => each?.version === row?.version && each?.moving !== true);
    if (!still || here.some((each) => each?.moving === true)) return 'unclear';
    if (row === undefined) return 'extra';
    return here.every((each) => each === undefined) ? 'missing' : 'different';
  }

  isEqual(keys: readonly KeyText[]): boolean {
    return this.destinationLooks.length > 0 && keys.every((key) => this.verdict(key) === 'equal');
  }

  private byKey(rows: readonly RowDigest[]): Map<string, RowDigest> {
    this.reread += rows.length;
    return new Map(rows.map((row) => [keyName(row.key), row]));
  }
}
