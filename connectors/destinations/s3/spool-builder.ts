import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { ChangeCursor, type ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { ChangeRows } from './change-rows.ts';
import type { Codec } from './codecs.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import { ParquetFile } from './parquet-file.ts';
import { projectionOf, type Projection } from './projection.ts';
import { RowIds } from './row-ids.ts';
import type { PartitionBy } from './settings.ts';

/** Everything that the content of a range's files depends on, besides the topic itself. */
export interface FileLayout {
  readonly columns: readonly FileColumn[];
  readonly codec: Codec;
  readonly pageBytes: number;
  readonly rowGroupRows: number;
  readonly rowGroupBytes: number;
  readonly partitionBy: PartitionBy;
}

export interface SpoolSpec {
  readonly id: number;
  /** Path of the spooled files; each date folder's has a number behind. */
  readonly path: string;
  /** Hash that names topic and partition in row ids. */
  readonly idHash: string;
  readonly layout: FileLayout;
  /** Make a file even when there is no row. */
  readonly keepEmpty?: boolean;
}

/** Values of consecutive records, packed; value i is [ends[i-1], ends[i]). */
export interface RecordChunk {
  readonly bytes: ArrayBuffer;
  readonly ends: Int32Array<ArrayBuffer>;
  readonly offsets: Float64Array<ArrayBuffer>;
}

export interface SpooledFile {
  /** `dt=2025-01-31/`, `dt=2025-01-31/hour=05/`, or empty. */
  readonly folder: string;
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
}

/** A chunk of which records wait. */
interface OpenChunk {
  readonly buffer: Buffer<ArrayBuffer>;
  readonly ends: Int32Array;
  readonly offsets: Float64Array;
  /** Records that are in no row group yet. */
  left: number;
}

/** Records [from, to) of a chunk. */
interface WaitingRun {
  readonly chunk: OpenChunk;
  readonly from: number;
  to: number;
}

/** Records that wait for their row group, as they came: values there are only of one column of one
 * row group at a time, however many ranges are open (invariant 9). */
class WaitingRecords {
  readonly runs: WaitingRun[] = [];
  count = 0;
  bytes = 0;

  push(chunk: OpenChunk, index: number): void {
    const last = this.runs.at(-1);
    if (last !== undefined && last.chunk === chunk && last.to === index) last.to++;
    else this.runs.push({ chunk, from: index, to: index + 1 });
    this.count++;
    this.bytes += (chunk.ends[index] as number) - startOf(chunk, index);
  }

  /** To be called when the records are in their row group. Memory of chunks is given back at once: so
   * little else is left to be collected that the collector would let a hundred of them pile up
   * (invariant 9). */
  release(): void {
    for (const { chunk, from, to } of this.runs) {
      chunk.left -= to - from;
      if (chunk.left === 0) chunk.buffer.buffer.transfer(0);
    }
  }
}

function startOf({ ends }: OpenChunk, index: number): number {
  return index === 0 ? 0 : (ends[index - 1] as number);
}

/** One for the thread: a row group is written in one turn. */
const group = new ChangeRows();

interface OpenFile {
  readonly folder: string;
  readonly path: string;
  waiting: WaitingRecords;
  /** Made with the first row: records may leave none. */
  file: ParquetFile | null;
  rows: number;
}

/**
 * Builds the files of one range on the local disk. Row groups are cut by counting records and their
 * bytes alone, never by how the records came in, so that a range built again gives the same files.
 */
export class SpoolBuilder {
  private readonly spec: SpoolSpec;
  private columns: readonly FileColumn[];
  private readonly files = new Map<number, OpenFile>();
  private readonly projections = new Map<number, Projection>();
  private readonly ids: RowIds;
  private readonly change = new ChangeCursor();
  private readonly schemas: ReadonlyMap<number, ChangeSchema>;

  constructor(spec: SpoolSpec, schemas: ReadonlyMap<number, ChangeSchema>) {
    this.spec = spec;
    this.columns = spec.layout.columns;
    this.schemas = schemas;
    this.ids = new RowIds(spec.idHash);
  }

  /** False when a row group has been written: its file keeps its columns. */
  widen(columns: readonly FileColumn[]): boolean {
    for (const { file } of this.files.values()) if (file !== null) return false;
    this.columns = columns;
    this.projections.clear();
    return true;
  }

  /** The chunk's bytes are the builder's from then on. */
  add({ bytes, ends, offsets }: RecordChunk): void {
    const { rowGroupRows, rowGroupBytes } = this.spec.layout;
    const chunk = { buffer: Buffer.from(bytes), ends, offsets, left: ends.length };
    for (let i = 0; i < ends.length; i++) {
      const open = this.fileFor(this.bucketOf(chunk, i));
      open.waiting.push(chunk, i);
      if (open.waiting.count >= rowGroupRows || open.waiting.bytes >= rowGroupBytes) {
        this.writeGroup(open);
      }
    }
  }

  private bucketOf(chunk: OpenChunk, index: number): number {
    const by = this.spec.layout.partitionBy;
    if (by === 'none') return 0;
    this.decode(chunk, index);
    return Math.floor(this.change.tsUs / BUCKET_MICROS[by]);
  }

  private decode(chunk: OpenChunk, index: number): Projection {
    const { buffer } = chunk;
    const start = startOf(chunk, index);
    const end = chunk.ends[index] as number;
    const projection = this.projection(schemaIdAt(buffer, start, end));
    this.change.decode(projection.schema, buffer, start, end);
    return projection;
  }

  private projection(id: number): Projection {
    let projection = this.projections.get(id);
    if (projection === undefined) {
      const schema = this.schemas.get(id);
      if (schema === undefined) {
        throw new PipelineError('EVT_UNDECODABLE', `a record names the unknown schema ${id}`);
      }
      projection = projectionOf(schema, this.columns);
      this.projections.set(id, projection);
    }
    return projection;
  }

  private fileFor(bucket: number): OpenFile {
    let open = this.files.get(bucket);
    if (open === undefined) {
      open = {
        folder: dateFolder(bucket, this.spec.layout.partitionBy),
        path: `${this.spec.path}.${this.files.size}`,
        waiting: new WaitingRecords(),
        file: null,
        rows: 0,
      };
      this.files.set(bucket, open);
    }
    return open;
  }

  private writeGroup(open: OpenFile): void {
    const { waiting } = open;
    open.waiting = new WaitingRecords();
    group.begin(this.columns, this.ids, waiting.count);
    for (const run of waiting.runs) this.addRun(run);
    if (group.rows > 0) {
      open.file ??= this.newFile(open.path);
      open.file.writeRowGroup(group);
      open.rows += group.rows;
    }
    group.clear();
    waiting.release();
  }

  private addRun({ chunk, from, to }: WaitingRun): void {
    for (let i = from; i < to; i++) {
      const projection = this.decode(chunk, i);
      // A mark has no row to show; what a truncate emptied stays in the files as history.
      if (!this.change.isRow) continue;
      group.add(this.change, projection, chunk.buffer, chunk.offsets[i] as number);
    }
  }

  private newFile(path: string): ParquetFile {
    const { codec, pageBytes } = this.spec.layout;
    return new ParquetFile(path, [...this.columns, ...CHANGE_COLUMNS], codec, pageBytes);
  }

  /** Bytes written to files so far. */
  get encodedBytes(): number {
    let sum = 0;
    for (const { file } of this.files.values()) sum += file?.bytes ?? 0;
    return sum;
  }

  /** Avro bytes that wait for their row group. */
  get pendingBytes(): number {
    let sum = 0;
    for (const { waiting } of this.files.values()) sum += waiting.bytes;
    return sum;
  }

  get fileCount(): number {
    return this.files.size;
  }

  /** The finished files in the order of their folders; without those that got no row. */
  finish(): SpooledFile[] {
    const done: SpooledFile[] = [];
    for (const open of this.files.values()) {
      this.writeGroup(open);
      const { folder, path, rows } = open;
      if (open.file !== null) done.push({ folder, path, rows, bytes: open.file.finish() });
    }
    if (done.length === 0 && this.spec.keepEmpty === true) {
      const path = `${this.spec.path}.${this.files.size}`;
      done.push({ folder: '', path, rows: 0, bytes: this.newFile(path).finish() });
    }
    return done.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  }

  get paths(): string[] {
    return [...this.files.values()].map(({ path }) => path);
  }
}

const BUCKET_MICROS: Record<PartitionBy, number> = {
  none: Number.POSITIVE_INFINITY,
  day: 86_400_000_000,
  hour: 3_600_000_000,
};

function dateFolder(bucket: number, by: PartitionBy): string {
  if (by === 'none') return '';
  const iso = new Date((bucket * BUCKET_MICROS[by]) / 1000).toISOString();
  const day = `dt=${iso.slice(0, 10)}/`;
  return by === 'day' ? day : `${day}hour=${iso.slice(11, 13)}/`;
}
