/**
 * Parquet's hybrid of run lengths and bit packing, in which definition levels, booleans and the
 * indexes of a dictionary are written.
 */

/** Values of a bit-packed group, and how many equal ones make a run of their own. */
const GROUP = 8;
const MAX_VARINT = 5;

/** Bytes that `values` values take at most. */
export function hybridRoom(values: number, bitWidth: number): number {
  return (Math.ceil(values / GROUP) + 1) * (bitWidth + 2 * MAX_VARINT + 4);
}

/** Writes values [from, to), none wider than `bitWidth` (at most 24), to `out` from `at` on. Answers
 * where they end. */
export function writeHybrid(
  values: Uint8Array | Int32Array,
  from: number,
  to: number,
  bitWidth: number,
  out: Uint8Array,
  at: number,
): number {
  let packedFrom = from;
  let i = from;
  while (i < to) {
    const end = runEnd(values, i, to);
    if (end - i < GROUP) {
      i += GROUP;
      continue;
    }
    if (packedFrom < i) at = writePacked(values, packedFrom, i, bitWidth, out, at);
    at = writeRun(values[i] as number, end - i, bitWidth, out, at);
    packedFrom = i = end;
  }
  if (packedFrom >= to) return at;
  // Zeros fill the last group; readers know how many values there are.
  return writePacked(values, packedFrom, to, bitWidth, out, at);
}

function runEnd(values: Uint8Array | Int32Array, from: number, to: number): number {
  const value = values[from];
  let end = from + 1;
  while (end < to && values[end] === value) end++;
  return end;
}

function writeRun(
  value: number,
  length: number,
  bitWidth: number,
  out: Uint8Array,
  at: number,
): number {
  at = writeVarint(length * 2, out, at);
  for (let bits = 0; bits < bitWidth; bits += 8) out[at++] = value >>> bits;
  return at;
}

function writePacked(
  values: Uint8Array | Int32Array,
  from: number,
  to: number,
  bitWidth: number,
  out: Uint8Array,
  at: number,
): number {
  const groups = Math.ceil((to - from) / GROUP);
  at = writeVarint(groups * 2 + 1, out, at);
  const end = at + groups * bitWidth;
  let waiting = 0;
  let bits = 0;
  for (let i = from; i < to; i++) {
    waiting |= (values[i] as number) << bits;
    bits += bitWidth;
    for (; bits >= 8; bits -= 8) {
      out[at++] = waiting;
      waiting >>>= 8;
    }
  }
  if (bits > 0) out[at++] = waiting;
  while (at < end) out[at++] = 0;
  return at;
}

function writeVarint(value: number, out: Uint8Array, at: number): number {
  while (value >= 0x80) {
    out[at++] = value | 0x80;
    value >>>= 7;
  }
  out[at++] = value;
  return at;
}
