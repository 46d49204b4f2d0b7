import { swapped, type ColumnBuffer } from './column-buffer.ts';
import type { FileForm } from './file-columns.ts';

/** Places of the smallest and the largest value among those of a buffer; -1 without one. */
export interface Bounds {
  min: number;
  max: number;
  /** NaN is no bound: it is neither smaller nor larger than another value. */
  nans: number;
}

/** The bounds of a column chunk in the order that the Parquet format gives its type. */
export function boundsOf(form: FileForm, buffer: ColumnBuffer): Bounds {
  switch (form) {
    case 'double':
      return doubleBounds(buffer);
    case 'date':
      return orderedBounds(buffer, compareInts);
    case 'boolean':
      return orderedBounds(buffer, compareFlags);
    case 'decimal':
      return orderedBounds(buffer, compareDecimals);
    case 'text':
    case 'bytes':
      return byteBounds(buffer);
    default:
      return longBounds(buffer);
  }
}

type Compare = (buffer: ColumnBuffer, a: number, b: number) => number;

function orderedBounds(buffer: ColumnBuffer, compare: Compare): Bounds {
  const { count } = buffer;
  if (count === 0) return { min: -1, max: -1, nans: 0 };
  let min = 0;
  let max = 0;
  for (let i = 1; i < count; i++) {
    if (compare(buffer, i, max) > 0) max = i;
    else if (compare(buffer, i, min) < 0) min = i;
  }
  return { min, max, nans: 0 };
}

/** Most columns are of this kind: kept in variables, the halves cost less than by a comparison. */
function longBounds({ words, count }: ColumnBuffer): Bounds {
  if (count === 0) return { min: -1, max: -1, nans: 0 };
  let min = 0;
  let max = 0;
  let minHigh = words[1] as number;
  let maxHigh = minHigh;
  let minLow = (words[0] as number) >>> 0;
  let maxLow = minLow;
  for (let i = 1; i < count; i++) {
    const low = (words[i * 2] as number) >>> 0;
    const high = words[i * 2 + 1] as number;
    if (high > maxHigh || (high === maxHigh && low > maxLow)) {
      max = i;
      maxHigh = high;
      maxLow = low;
    } else if (high < minHigh || (high === minHigh && low < minLow)) {
      min = i;
      minHigh = high;
      minLow = low;
    }
  }
  return { min, max, nans: 0 };
}

function doubleBounds({ doubles, count }: ColumnBuffer): Bounds {
  const bounds: Bounds = { min: -1, max: -1, nans: 0 };
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const value = doubles[i] as number;
    if (value !== value) {
      bounds.nans++;
      continue;
    }
    if (value < least || bounds.min === -1) {
      least = value;
      bounds.min = i;
    }
    if (value > most || bounds.max === -1) {
      most = value;
      bounds.max = i;
    }
  }
  return bounds;
}

function compareInts({ words }: ColumnBuffer, a: number, b: number): number {
  return (words[a] as number) - (words[b] as number);
}

function compareFlags({ bytes }: ColumnBuffer, a: number, b: number): number {
  return (bytes[a] as number) - (bytes[b] as number);
}

/** Signed numbers of 16 bytes with the high ones first. */
function compareDecimals({ words }: ColumnBuffer, a: number, b: number): number {
  for (let i = 0; i < 4; i++) {
    const left = words[a * 4 + i] as number;
    const right = words[b * 4 + i] as number;
    if (left === right) continue;
    if (i === 0) return swapped(left) - swapped(right);
    return (swapped(left) >>> 0) - (swapped(right) >>> 0);
  }
  return 0;
}

/**
 * In the order of unsigned bytes, which of UTF-8 is that of the code points too. Values of a column
 * often begin alike: how many bytes the bounds so far have in common says where a second comparison
 * may begin.
 */
function byteBounds(buffer: ColumnBuffer): Bounds {
  const { count } = buffer;
  if (count === 0) return { min: -1, max: -1, nans: 0 };
  let min = 0;
  let max = 0;
  let common = buffer.plainSize(0);
  for (let i = 1; i < count; i++) {
    const equal = equalBytes(buffer, i, max, 0);
    const order = byteAt(buffer, i, equal) - byteAt(buffer, max, equal);
    if (order > 0) {
      max = i;
      common = Math.min(common, equal);
    } else if (order < 0 && isBelow(buffer, i, min, Math.min(common, equal))) {
      min = i;
      common = Math.min(common, equal);
    }
  }
  return { min, max, nans: 0 };
}

/** `common`: so many bytes at least are equal. */
function isBelow(buffer: ColumnBuffer, a: number, b: number, common: number): boolean {
  const equal = equalBytes(buffer, a, b, common);
  return byteAt(buffer, a, equal) < byteAt(buffer, b, equal);
}

/** How many bytes two values have in common from their beginning; `from` at least. */
function equalBytes(buffer: ColumnBuffer, a: number, b: number, from: number): number {
  const { bytes } = buffer;
  const left = buffer.startOf(a);
  const right = buffer.startOf(b);
  const end = Math.min(buffer.plainEnd(a + 1) - left, buffer.plainEnd(b + 1) - right);
  let equal = from;
  while (equal < end && bytes[left + equal] === bytes[right + equal]) equal++;
  return equal;
}

/** Byte `at` of a value; -1 behind its end, which is before all others. */
function byteAt(buffer: ColumnBuffer, index: number, at: number): number {
  const place = buffer.startOf(index) + at;
  return place < buffer.plainEnd(index + 1) ? (buffer.bytes[place] as number) : -1;
}
