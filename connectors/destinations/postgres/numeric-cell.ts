import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { BinaryWriter } from './binary-writer.ts';

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const SIGN_NEGATIVE = 0x4000;
const SIGN_NAN = 0xc000;
const SIGN_INFINITY = 0xd000;
const SIGN_MINUS_INFINITY = 0xf000;

/**
 * Decimal text to Postgres' binary numeric: digits to base 10,000, a weight, and the number of
 * digits behind the point as printed, so that trailing zeros survive.
 */
export function writeNumeric(out: BinaryWriter, text: Buffer, start: number, end: number): void {
  const negative = text[start] === MINUS;
  let first = negative ? start + 1 : start;
  if (first >= end) throw malformed();
  if (((text[first] as number) | 0x20) > 0x60) {
    writeSpecial(out, text[first] as number, negative);
    return;
  }
  let point = first;
  while (point < end && text[point] !== POINT) point++;
  while (first < point && text[first] === ZERO) first++;
  const fraction = point < end ? end - point - 1 : 0;
  const weight = Math.ceil((point - first) / 4) - 1;
  const groups = weight + 1 + Math.ceil(fraction / 4);
  out.ensure(12 + groups * 2);
  out.int32(8 + groups * 2);
  out.int16(groups);
  out.int16(weight);
  out.int16(negative ? SIGN_NEGATIVE : 0);
  out.int16(fraction);
  writeGroups(out, text, point - (weight + 1) * 4, first, point);
  writeGroups(out, text, point + 1, point + 1, end);
}

/** Groups of four digits from `from` on; places before `first` and behind `end` count as zeros. */
function writeGroups(
  out: BinaryWriter,
  text: Buffer,
  from: number,
  first: number,
  end: number,
): void {
  for (let at = from; at < end; at += 4) {
    let group = 0;
    for (let i = at; i < at + 4; i++) {
      const digit = i < first || i >= end ? 0 : (text[i] as number) - ZERO;
      if (digit < 0 || digit > 9) throw malformed();
      group = group * 10 + digit;
    }
    out.int16(group);
  }
}

function writeSpecial(out: BinaryWriter, letter: number, negative: boolean): void {
  const isNaN = (letter | 0x20) === 0x6e;
  out.ensure(12);
  out.int32(8);
  out.int16(0);
  out.int16(0);
  out.int16(isNaN ? SIGN_NAN : negative ? SIGN_MINUS_INFINITY : SIGN_INFINITY);
  out.int16(0);
}

function malformed(): PipelineError {
  return new PipelineError('DST_VALUE', 'a decimal is malformed');
}
