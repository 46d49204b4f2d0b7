/** Rows of a table that one statement reads, where the key gives a place to go on at. */
export const CHUNK_ROWS = 10_000;

/** Tells a row, whose place is asked for only where the chunk ends with it. */
export type CountRow = (place: () => readonly string[]) => void;

/**
 * Reads a table by statements of CHUNK_ROWS rows, each behind the last row of the one before.
 * `passed` is called between two of them: the read can go on there after a crash.
 */
export async function readInChunks(
  start: readonly string[] | null,
  read: (after: readonly string[] | null, count: CountRow) => Promise<void>,
  passed: (last: readonly string[]) => Promise<void>,
): Promise<void> {
  for (let after = start; ;) {
    let rows = 0;
    let last: readonly string[] | null = null;
    await read(after, (place) => {
      if (++rows === CHUNK_ROWS) last = place();
    });
    if (last === null) return;
    after = last;
    await passed(last);
  }
}
