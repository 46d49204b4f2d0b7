import { createHash } from 'node:crypto';
import type { PartitionTarget } from '../../spi/destination.ts';
import { fenced } from './errors.ts';
import type { FileColumn } from './file-columns.ts';
import { offsetText, ownerMark, streamFolder } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Settings } from './settings.ts';

/**
 * The generations of one partition: what the deduped and the overwritten Parquet rest on.
 *
 * A generation is a manifest `<number>.json` that names the files which together are the stream's
 * rows. Files are never changed; a manifest is made with If-None-Match, so each number exists once
 * and a reader that takes the highest number sees one whole generation, the old or the new. The
 * manifest also says up to which offset the topic is in it: rows and offset are one write
 * (invariants 3 and 6). Whoever opens the partition adds a generation of the same files first: an
 * instance that was forgotten then finds its next number taken and is fenced.
 */

export interface GenerationFile {
  readonly key: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Hash slots [first, end) of the keys in it; all files of a generation together have each once. */
  readonly firstSlot: number;
  readonly endSlot: number;
}

/** Where a change stands in its source's log. */
export interface SourcePosition {
  readonly epoch: number;
  /** A 64-bit number as text. */
  readonly lsn: string;
  readonly seq: number;
}

export interface Generation {
  readonly version: 1;
  /** Random; tells a write whose answer was lost from another instance's. */
  readonly id: string;
  readonly generation: number;
  readonly connectionId: string;
  readonly topic: string;
  readonly partition: number;
  readonly mode: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** The part of the topic that came in with this generation. `next` is where to read on; null while
   * nothing was read. */
  readonly offsets: { readonly first: number | null; readonly next: number | null };
  /** First and last change of that part; null when it had none. */
  readonly source: { readonly first: SourcePosition; readonly last: SourcePosition } | null;
  /** The last change that is in the rows; null before the first. */
  readonly through: SourcePosition | null;
  /** The last order to deliver the partition again that was carried out; null for none. */
  readonly replay: string | null;
  readonly rows: number;
  readonly bytes: number;
  readonly columns: readonly FileColumn[];
  readonly files: readonly GenerationFile[];
  /** The generation before and the hash of its manifest's bytes; null for the first. */
  readonly previous: { readonly generation: number; readonly sha256: string } | null;
}

/** What a generation says besides what follows from the chain and its files. */
export interface GenerationContent extends Pick<
  Generation,
  'id' | 'offsets' | 'source' | 'columns' | 'files'
> {
  /** Set when it ends a replay. */
  readonly replay?: string | undefined;
}

export interface GenerationPlace {
  readonly connectionId: string;
  readonly target: PartitionTarget;
  /** Folder of the manifests and of the files they name, with a slash behind. */
  readonly folder: string;
}

export function generationPlace(
  settings: S3Settings,
  connectionId: string,
  target: PartitionTarget,
): GenerationPlace {
  const mark = ownerMark(connectionId, target);
  const folder = `${streamFolder(settings, target)}_generations/${mark}/`;
  return { connectionId, target, folder };
}

interface Link {
  readonly generation: Generation;
  readonly sha256: string;
}

export class GenerationChain {
  private readonly store: ObjectStore;
  private readonly place: GenerationPlace;
  /** Manifests that are still there, oldest first. */
  private links: Link[] = [];

  constructor(store: ObjectStore, place: GenerationPlace) {
    this.store = store;
    this.place = place;
  }

  get newest(): Generation | null {
    return this.links.at(-1)?.generation ?? null;
  }

  /** Reads the manifests; answers the newest, or null when there is none. */
  async load(): Promise<Generation | null> {
    const links: Link[] = [];
    for await (const key of this.store.list(this.place.folder)) {
      if (!/\/\d{20}\.json$/.test(key)) continue;
      const text = await this.store.get(key);
      // Gone between the list and now: another instance has tidied up.
      if (text !== null) links.push(linkOf(text));
    }
    this.links = links;
    return this.newest;
  }

  /** What the next generation would be with this content. */
  next(content: GenerationContent): Generation {
    const { connectionId, target } = this.place;
    const before = this.links.at(-1);
    return {
      version: 1,
      generation: (before?.generation.generation ?? 0) + 1,
      connectionId,
      topic: target.topic,
      partition: target.partition,
      mode: target.stream.mode,
      createdAt: new Date().toISOString(),
      ...content,
      through: content.source?.last ?? before?.generation.through ?? null,
      replay: content.replay ?? before?.generation.replay ?? null,
      rows: content.files.reduce((sum, file) => sum + file.rows, 0),
      bytes: content.files.reduce((sum, file) => sum + file.bytes, 0),
      previous:
        before === undefined
          ? null
          : { generation: before.generation.generation, sha256: before.sha256 },
    };
  }

  /** Makes a generation the newest: the switch. May be repeated when its outcome is unknown; throws
   * SNK_FENCED when another instance has taken the number. */
  async commit(generation: Generation): Promise<void> {
    const text = JSON.stringify(generation, null, 1);
    const key = this.manifestKey(generation.generation);
    if (!(await this.store.putIfAbsent(key, text))) {
      const winner = await this.store.get(key);
      if (winner === null || linkOf(winner).generation.id !== generation.id) {
        throw fenced(this.place.target, 'has published a generation of');
      }
    }
    this.links.push(linkOf(text));
  }

  /** Manifests that were replaced before `time` (epoch milliseconds) go, and then the files that no
   * manifest names any more. A file whose name has a higher number than the newest generation known
   * here belongs to one being made, by this instance or by one that has taken over. */
  async prune(time: number): Promise<void> {
    while (this.links.length > 1) {
      const [oldest, after] = this.links as [Link, Link];
      if (Date.parse(after.generation.createdAt) > time) break;
      await this.store.delete(this.manifestKey(oldest.generation.generation));
      this.links.shift();
    }
    const named = new Set(this.links.flatMap(({ generation }) => generation.files.map(keyOf)));
    const newest = this.newest?.generation ?? 0;
    for await (const key of this.store.list(this.place.folder)) {
      if (generationOf(key) <= newest && !named.has(key)) await this.store.delete(key);
    }
  }

  private manifestKey(generation: number): string {
    return `${this.place.folder}${offsetText(generation)}.json`;
  }
}

/** The generation that a file was made for, by its name; Infinity for what is no file of ours. */
export function generationOf(key: string): number {
  const number = /(?:^|[/-])(\d{20})-[0-9a-f]{8}-\d+\.parquet$/.exec(key)?.[1];
  return number === undefined ? Number.POSITIVE_INFINITY : Number(number);
}

/** Name of the n-th file that one attempt makes for a generation. */
export function generationFileName(generation: number, attempt: string, n: number): string {
  return `${offsetText(generation)}-${attempt.slice(0, 8)}-${n}.parquet`;
}

function keyOf({ key }: GenerationFile): string {
  return key;
}

function linkOf(text: string): Link {
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { generation: JSON.parse(text) as Generation, sha256 };
}
