import type {
  DestinationView,
  KeyText,
  RangeDigest,
  RowDigest,
  SourceView,
} from '../../connectors/spi/comparison.ts';
import { keyName, settle, type BothSides, type Fault } from './suspects.ts';

export interface TableFindings {
  /** Rows of the source's view. */
  readonly rows: number;
  readonly ranges: number;
  readonly differingRanges: number;
  /** Rows of both sides that were read again to tell what differs. */
  readonly reread: number;
  readonly faults: readonly { readonly key: KeyText; readonly fault: Fault }[];
  readonly unsettled: readonly KeyText[];
  /** More keys differ than are looked into. */
  readonly more: boolean;
  /** Rows of an append table that repeat the key of another one; absent where that is not counted. */
  readonly repeatedKeys?: number;
}

/** Small ranges cost nothing while there are not too many of them, and little is read again. */
const ROWS_PER_RANGE = 16;
const MAX_RANGES = 65_536;
const RANGES_PER_QUESTION = 1_000;
/** Of a table that is altogether different the first ones say enough. */
const MAX_SUSPECTS = 20_000;

/**
 * Compares a table with its deduped copy while both are written to: digests of key ranges in a view of
 * each, of which the destination's stands at or behind the source's; rows that the destination
 * has from newer events are taken out on both sides. What differs then is looked into row by row, and
 * what the rows in between may explain is settled by further looks.
 */
export async function compareTables(sides: BothSides): Promise<TableFindings> {
  const { source, destination } = sides;
  const first = await source(async (there) => {
    const position = await there.position();
    return destination(position, there.since, (here) => compareViews(there, here));
  });
  const suspects = [...first.suspects].slice(0, MAX_SUSPECTS);
  const settled = await settle(sides, suspects);
  return {
    rows: first.rows,
    ranges: first.ranges,
    differingRanges: first.differingRanges,
    reread: first.reread + settled.reread,
    faults: [...settled.faults].map(([name, fault]) => ({ key: keyOf(name), fault })),
    unsettled: settled.unsettled.map(keyOf),
    more: first.more,
  };
}

function keyOf(name: string): KeyText {
  return JSON.parse(name) as KeyText;
}

interface ViewFindings {
  readonly rows: number;
  readonly ranges: number;
  readonly differingRanges: number;
  reread: number;
  more: boolean;
  readonly suspects: Set<string>;
}

async function compareViews(there: SourceView, here: DestinationView): Promise<ViewFindings> {
  const rows = await there.count();
  const cuts = await there.cuts(Math.max(ROWS_PER_RANGE, Math.ceil(rows / MAX_RANGES)));
  const [wanted, found] = await Promise.all([there.digests(cuts), here.digests(cuts)]);
  const moving = new Map(found.flatMap((each) => each.moving.map((key) => [keyName(key), each])));
  const before = await there.rowsOfKeys([...moving.keys()].map(keyOf));
  const differing = differingRanges(cuts.length + 1, without(wanted, before, moving), found);
  const findings: ViewFindings = {
    rows,
    ranges: cuts.length + 1,
    differingRanges: differing.length,
    reread: before.length,
    more: false,
    suspects: new Set(moving.keys()),
  };
  for (let i = 0; i < differing.length && !findings.more; i += RANGES_PER_QUESTION) {
    await compareRows(there, here, cuts, differing.slice(i, i + RANGES_PER_QUESTION), findings);
  }
  return findings;
}

interface Digest {
  readonly rows: number;
  readonly hash: bigint;
}

/** The source's ranges without the rows that the destination has changed since. */
function without(
  digests: readonly RangeDigest[],
  rows: readonly RowDigest[],
  rangeOf: ReadonlyMap<string, RangeDigest>,
): Map<number, Digest> {
  const result = new Map<number, Digest>(digests.map((each) => [each.range, each]));
  for (const { key, hash } of rows) {
    const { range } = rangeOf.get(keyName(key)) as RangeDigest;
    const digest = result.get(range) ?? { rows: 0, hash: 0n };
    result.set(range, { rows: digest.rows - 1, hash: digest.hash - hash });
  }
  return result;
}

function differingRanges(
  count: number,
  wanted: ReadonlyMap<number, Digest>,
  found: readonly RangeDigest[],
): number[] {
  const here = new Map<number, Digest>(found.map((each) => [each.range, each]));
  return Array.from({ length: count }, (_, range) => range).filter((range) => {
    const [one, other] = [wanted.get(range), here.get(range)];
    return (one?.rows ?? 0) !== (other?.rows ?? 0) || (one?.hash ?? 0n) !== (other?.hash ?? 0n);
  });
}

async function compareRows(
  there: SourceView,
  here: DestinationView,
  cuts: readonly KeyText[],
  ranges: readonly number[],
  findings: ViewFindings,
): Promise<void> {
  const [wanted, found] = await Promise.all([
    there.rowsOfRanges(cuts, ranges),
    here.rowsOfRanges(cuts, ranges),
  ]);
  findings.reread += wanted.length + found.length;
  const had = new Map(found.map((row) => [keyName(row.key), row.hash]));
  for (const { key, hash } of wanted) {
    const name = keyName(key);
    if (had.get(name) !== hash) findings.suspects.add(name);
    had.delete(name);
  }
  for (const name of had.keys()) findings.suspects.add(name);
  findings.more = findings.suspects.size > MAX_SUSPECTS;
}
