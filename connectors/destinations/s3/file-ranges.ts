import type { StoredObject } from './object-store.ts';

/**
 * What the names of appended files say. A file has the offsets [first, end) of one partition that are
 * in its folder; small files are put together into one whose name spans all of theirs. A file whose
 * offsets lie within another's of the same folder and partition is replaced: readers that leave out
 * such files see each offset once, whether a replaced file is still there or not. That the larger
 * file appears is the switch; there is no second object that could be seen without the first.
 */
export interface FileRange extends StoredObject {
  /** Folder, partition and rebuild: ranges are compared within it. */
  readonly place: string;
  /** Names connection, topic and partition (object-key.ts). */
  readonly owner: string;
  /** Number of the rebuild that the file belongs to; 0 for those delivered first. */
  readonly rebuild: number;
  readonly first: number;
  readonly end: number;
}

const RANGE = /([0-9a-f]{8}-\d+)(-r\d+)?-(\d{20})-(\d{20})(?=[^/]*\.parquet$)/;

/** Null for what is no appended file of ours. */
export function fileRange(object: StoredObject): FileRange | null {
  const match = RANGE.exec(object.key);
  if (match === null) return null;
  const [, owner = '', rebuilt = '', first, end] = match;
  const place = `${object.key.slice(0, object.key.lastIndexOf('/') + 1)}${owner}${rebuilt}`;
  const rebuild = Number(rebuilt.slice('-r'.length));
  return { ...object, place, owner, rebuild, first: Number(first), end: Number(end) };
}

/** The key of a file in place of those from `first` to the one that ends at `end`. */
export function joinedKey({ key }: FileRange, end: string): string {
  return key.replace(RANGE, `$1$2-$3-${end}`);
}

/** Whether all that is in the one is in the other. */
function isWithin(file: FileRange, other: FileRange): boolean {
  return file.place === other.place && other.first <= file.first && file.end <= other.end;
}

export interface SortedFiles {
  /** By place and offset. */
  readonly current: readonly FileRange[];
  readonly replaced: readonly FileRange[];
}

export function sortFiles(files: readonly FileRange[]): SortedFiles {
  const current: FileRange[] = [];
  const replaced: FileRange[] = [];
  const inOrder = [...files].sort(
    (a, b) =>
      (a.place < b.place ? -1 : a.place > b.place ? 1 : 0) || a.first - b.first || b.end - a.end,
  );
  for (const file of inOrder) {
    const before = current.at(-1);
    const isReplaced = before !== undefined && isWithin(file, before);
    (isReplaced ? replaced : current).push(file);
  }
  return { current, replaced };
}

export interface JoinLimits {
  /** As large a file should become. */
  readonly targetBytes: number;
  /** So many small files are worth it. */
  readonly leastFiles: number;
  /** Files behind this offset are not finished. */
  readonly durable: number;
}

/** A file grows in steps, each eight times the one before, so that a row is written again five times
 * at most. */
const STEPS = [4096, 512, 64, 8, 1];
const MOST_FILES = 500;

/** Neighbours that are to become one file; null when there are no such ones. */
export function filesToJoin(
  current: readonly FileRange[],
  { targetBytes, leastFiles, durable }: JoinLimits,
): readonly FileRange[] | null {
  for (const step of STEPS) {
    const limit = targetBytes / step;
    let run: FileRange[] = [];
    let bytes = 0;
    for (const file of current) {
      const isNext = run.at(-1)?.place === file.place && run.length < MOST_FILES;
      if (!isNext || bytes + file.bytes > targetBytes) {
        if (run.length >= leastFiles) return run;
        run = [];
        bytes = 0;
      }
      if (file.bytes >= limit || file.end > durable) {
        if (run.length >= leastFiles) return run;
        run = [];
        bytes = 0;
        continue;
      }
      run.push(file);
      bytes += file.bytes;
    }
    if (run.length >= leastFiles) return run;
  }
  return null;
}
