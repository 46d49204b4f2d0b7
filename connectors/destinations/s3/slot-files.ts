import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { CHANGE_COLUMNS, KEY_COLUMN, type FileColumn } from './file-columns.ts';
import { cellsOf, type FileValue } from './file-values.ts';
import { ParquetFile } from './parquet-file.ts';
import type { RowGroup } from './row-group.ts';
import type { RowValues } from './row-values.ts';
import type { FileLayout } from './spool-builder.ts';

/** A file that was built on the local disk for a generation. */
export interface BuiltFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly firstSlot: number;
  readonly endSlot: number;
}

export interface SlotFilesSpec {
  /** Path of the files; each has a number behind. */
  readonly path: string;
  readonly layout: FileLayout;
  readonly firstSlot: number;
  readonly endSlot: number;
  /** A file ends with the slot in which it has become so large. */
  readonly targetBytes: number;
}

interface ClosedFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly firstSlot: number;
  readonly endSlot: number;
}

/** Writes rows in the order of their hash slots into files that hold whole slots. */
export class SlotFiles {
  group: RowGroup;
  private readonly spec: SlotFilesSpec;
  private readonly values: RowValues;
  private readonly columns: readonly FileColumn[];
  private readonly closed: ClosedFile[] = [];
  private keys: FileValue[] = [];
  private groupBytes = 0;
  private file: ParquetFile | null = null;
  private rows = 0;
  private firstSlot: number;

  constructor(spec: SlotFilesSpec, values: RowValues) {
    this.spec = spec;
    this.values = values;
    this.columns = [...spec.layout.columns, ...CHANGE_COLUMNS, KEY_COLUMN];
    this.firstSlot = spec.firstSlot;
    this.group = values.newGroup();
  }

  /** Ends the file that is large enough; the rows that follow have this slot or a higher one. */
  atSlot(slot: number): void {
    if (slot <= this.firstSlot || (this.file?.bytes ?? 0) < this.spec.targetBytes) return;
    this.endFile(slot);
  }

  /** To be called after a row was added to `group`, with its key and about its bytes. */
  added(key: Uint8Array, bytes: number): void {
    this.keys.push(key);
    this.groupBytes += bytes;
    const { rowGroupRows, rowGroupBytes } = this.spec.layout;
    if (this.group.rows >= rowGroupRows || this.groupBytes >= rowGroupBytes) this.endGroup();
  }

  private endGroup(): void {
    if (this.group.rows === 0) return;
    this.open().writeRowGroup(cellsOf([...this.group.columns, this.keys], this.columns));
    this.rows += this.group.rows;
    this.group = this.values.newGroup();
    this.keys = [];
    this.groupBytes = 0;
  }

  private open(): ParquetFile {
    const { codec, pageBytes } = this.spec.layout;
    return (this.file ??= new ParquetFile(this.path, this.columns, codec, pageBytes));
  }

  private get path(): string {
    return `${this.spec.path}.${this.closed.length}`;
  }

  private endFile(endSlot: number): void {
    this.endGroup();
    const bytes = this.open().finish();
    const { path, rows, firstSlot } = this;
    this.closed.push({ path, rows, bytes, firstSlot, endSlot });
    this.file = null;
    this.rows = 0;
    this.firstSlot = endSlot;
  }

  /** The finished files; `keepEmpty` makes one of no rows when there are none. */
  async finish(keepEmpty: boolean): Promise<BuiltFile[]> {
    this.endGroup();
    if (this.file !== null || (keepEmpty && this.closed.length === 0))
      this.endFile(this.spec.endSlot);
    const last = this.closed.pop();
    if (last !== undefined) this.closed.push({ ...last, endSlot: this.spec.endSlot });
    return Promise.all(
      this.closed.map(async (file) => ({ ...file, sha256: await fileHash(file.path) })),
    );
  }
}

export async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
