import type { ColumnKind } from '../../schemas/values/column-type.ts';
import type { KeyText } from '../spi/comparison.ts';

type Sortable = readonly (bigint | Buffer)[];

/** The ranges of a comparison for a side whose server is not asked to order by keys: whole numbers by
 * value, everything else by the bytes of its text, as Postgres does with either. */
export class KeyRanges {
  private readonly kinds: readonly ColumnKind[];
  private readonly cuts: readonly Sortable[];

  constructor(kinds: readonly ColumnKind[], cuts: readonly KeyText[]) {
    this.kinds = kinds;
    this.cuts = cuts.map((cut) => this.sortable(cut));
  }

  /** Range `i` holds the keys from cut `i - 1` to before cut `i`. */
  rangeOf(key: KeyText): number {
    const wanted = this.sortable(key);
    let [low, high] = [0, this.cuts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.cuts[middle] as Sortable, wanted) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  sorted(keys: readonly KeyText[]): KeyText[] {
    const pairs = keys.map((key) => ({ key, sortable: this.sortable(key) }));
    return pairs.sort((a, b) => compare(a.sortable, b.sortable)).map(({ key }) => key);
  }

  private sortable(key: KeyText): Sortable {
    return key.map((text, i) => (isWhole(this.kinds[i]) ? BigInt(text) : Buffer.from(text)));
  }
}

/** Kinds whose keys are whole numbers; a key of kind `decimal` with a fraction is ordered as text. */
function isWhole(kind: ColumnKind | undefined): boolean {
  return kind === 'int16' || kind === 'int32' || kind === 'int64';
}

function compare(one: Sortable, other: Sortable): number {
  for (const [i, a] of one.entries()) {
    const order = compareParts(a, other[i] as bigint | Buffer);
    if (order !== 0) return order;
  }
  return 0;
}

function compareParts(a: bigint | Buffer, b: bigint | Buffer): number {
  if (typeof a === 'object' && typeof b === 'object') return Buffer.compare(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}
