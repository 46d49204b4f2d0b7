import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  ChangeCursor,
  OP_TRUNCATE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import type { Codec } from './codecs.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import { HyparquetFile, type ParquetFile } from './parquet-file.ts';
import { projectionOf, RowGroup, RowIds, type Projection } from './row-group.ts';
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

interface OpenFile {
  readonly folder: string;
  readonly path: string;
  readonly file: ParquetFile;
  readonly group: RowGroup;
  rows: number;
}

/**
 * Builds the files of one range on the local disk. Row groups are cut by counting records and their
 * bytes alone, never by how the records came in, so that a range built again gives the same files.
 */
export class SpoolBuilder {
  private readonly spec: SpoolSpec;
  private readonly files = new Map<number, OpenFile>();
  private readonly projections = new Map<number, Projection>();
  private readonly ids: RowIds;
  private readonly change = new ChangeCursor();
  private readonly schemas: ReadonlyMap<number, ChangeSchema>;

  constructor(spec: SpoolSpec, schemas: ReadonlyMap<number, ChangeSchema>) {
    this.spec = spec;
    this.schemas = schemas;
    this.ids = new RowIds(spec.idHash);
  }

  add({ bytes: buffer, ends, offsets }: RecordChunk): void {
    const bytes = Buffer.from(buffer);
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number;
      this.addRecord(bytes, start, end, offsets[i] as number);
      start = end;
    }
  }

  private addRecord(bytes: Buffer, start: number, end: number, offset: number): void {
    const { change } = this;
    const projection = this.projection(schemaIdAt(bytes, start, end));
    change.decode(projection.schema, bytes, start, end);
    // A truncate has no row to show; what it emptied stays in the files as history.
    if (change.op === OP_TRUNCATE) return;
    const open = this.fileFor(change.tsUs);
    open.group.add(change, projection, bytes, offset);
    open.group.bytes += end - start;
    const { rowGroupRows, rowGroupBytes } = this.spec.layout;
    if (open.group.rows >= rowGroupRows || open.group.bytes >= rowGroupBytes) writeGroup(open);
  }

  private projection(id: number): Projection {
    let projection = this.projections.get(id);
    if (projection === undefined) {
      const schema = this.schemas.get(id);
      if (schema === undefined) {
        throw new PipelineError('EVT_UNDECODABLE', `a record names the unknown schema ${id}`);
      }
      projection = projectionOf(schema, this.spec.layout.columns);
      this.projections.set(id, projection);
    }
    return projection;
  }

  private fileFor(tsUs: number): OpenFile {
    const bucket = timeBucket(tsUs, this.spec.layout.partitionBy);
    let open = this.files.get(bucket);
    if (open === undefined) {
      const { columns, codec, pageBytes, partitionBy } = this.spec.layout;
      const path = `${this.spec.path}.${this.files.size}`;
      const all = [...columns, ...CHANGE_COLUMNS];
      open = {
        folder: dateFolder(bucket, partitionBy),
        path,
        file: new HyparquetFile(path, all, codec, pageBytes),
        group: new RowGroup(columns, this.ids),
        rows: 0,
      };
      this.files.set(bucket, open);
    }
    return open;
  }

  /** Bytes written to files so far. */
  get encodedBytes(): number {
    let sum = 0;
    for (const { file } of this.files.values()) sum += file.bytes;
    return sum;
  }

  /** Avro bytes of the rows that wait for their row group. */
  get pendingBytes(): number {
    let sum = 0;
    for (const { group } of this.files.values()) sum += group.bytes;
    return sum;
  }

  get fileCount(): number {
    return this.files.size;
  }

  finish(): SpooledFile[] {
    const done = [...this.files.values()].map((open) => {
      writeGroup(open);
      const bytes = open.file.finish();
      return { folder: open.folder, path: open.path, rows: open.rows, bytes };
    });
    return done.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  }

  get paths(): string[] {
    return [...this.files.values()].map(({ path }) => path);
  }
}

function writeGroup(open: OpenFile): void {
  if (open.group.rows === 0) return;
  open.file.writeRowGroup(open.group.columns);
  open.rows += open.group.rows;
  open.group.clear();
}

const BUCKET_MICROS: Record<PartitionBy, number> = {
  none: Number.POSITIVE_INFINITY,
  day: 86_400_000_000,
  hour: 3_600_000_000,
};

function timeBucket(tsUs: number, by: PartitionBy): number {
  return by === 'none' ? 0 : Math.floor(tsUs / BUCKET_MICROS[by]);
}

function dateFolder(bucket: number, by: PartitionBy): string {
  if (by === 'none') return '';
  const iso = new Date((bucket * BUCKET_MICROS[by]) / 1000).toISOString();
  const day = `dt=${iso.slice(0, 10)}/`;
  return by === 'day' ? day : `${day}hour=${iso.slice(11, 13)}/`;
}
