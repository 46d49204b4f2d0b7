/**
 * Integers of the log by plain reads of bytes. Buffer's own methods check their arguments at each call,
 * which costs twice here: when they run and when the engine compiles what it inlined. Whoever calls these
 * has made sure that the bytes are there.
 */

export function uint16At(bytes: Uint8Array, pos: number): number {
  return (bytes[pos] as number) | ((bytes[pos + 1] as number) << 8);
}

export function uint24At(bytes: Uint8Array, pos: number): number {
  return uint16At(bytes, pos) | ((bytes[pos + 2] as number) << 16);
}

export function int32At(bytes: Uint8Array, pos: number): number {
  return uint16At(bytes, pos) | (uint16At(bytes, pos + 2) << 16);
}

export function uint32At(bytes: Uint8Array, pos: number): number {
  return int32At(bytes, pos) >>> 0;
}

/** An id of six bytes. */
export function uint48At(bytes: Uint8Array, pos: number): number {
  return uint16At(bytes, pos + 4) * 0x100000000 + uint32At(bytes, pos);
}

/** Times are stored the other way round. */
export function uint32BackwardsAt(bytes: Uint8Array, pos: number): number {
  return (
    (((bytes[pos] as number) << 24) |
      ((bytes[pos + 1] as number) << 16) |
      ((bytes[pos + 2] as number) << 8) |
      (bytes[pos + 3] as number)) >>>
    0
  );
}
