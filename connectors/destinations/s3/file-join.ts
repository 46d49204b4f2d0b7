import { setImmediate as nextTurn } from 'node:timers/promises';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import { cellsOf, type FileValue } from './file-values.ts';
import { ParquetFile } from './parquet-file.ts';
import { PublishedFile, writtenValue, type PublishedGroup } from './published-rows.ts';
import type { FileLayout } from './spool-builder.ts';

export interface JoinSpec {
  /** Files on the local disk, in the order of their offsets. */
  readonly inputs: readonly string[];
  /** Path of the file that has the rows of all. */
  readonly path: string;
  readonly layout: FileLayout;
}

export interface Joined {
  readonly rows: number;
  readonly bytes: number;
}

const CELL_BYTES = 8;

/** Copies rows value by value; memory holds one row group read and one to write (invariant 9). */
export class FileJoin {
  private readonly spec: JoinSpec;
  private readonly columns: readonly FileColumn[];
  private readonly out: ParquetFile;
  private cells: FileValue[][];
  private groupBytes = 0;
  private rows = 0;

  constructor(spec: JoinSpec) {
    const { columns, codec, pageBytes } = spec.layout;
    this.spec = spec;
    this.columns = [...columns, ...CHANGE_COLUMNS];
    this.out = new ParquetFile(spec.path, this.columns, codec, pageBytes);
    this.cells = this.noCells();
  }

  private noCells(): FileValue[][] {
    return this.columns.map(() => []);
  }

  async run(): Promise<Joined> {
    for (const path of this.spec.inputs) {
      const file = new PublishedFile(path);
      try {
        for await (const group of file.groups(this.columns)) {
          this.copy(group);
          // The thread takes the records that have come in meanwhile.
          await nextTurn();
        }
      } finally {
        file.close();
      }
    }
    this.endGroup();
    return { rows: this.rows, bytes: this.out.finish() };
  }

  private copy(group: PublishedGroup): void {
    const { rowGroupRows, rowGroupBytes } = this.spec.layout;
    for (let row = 0; row < group.rows; row++) {
      this.columns.forEach((column, index) => {
        const value = writtenValue(group.columns[index]?.[row], column);
        (this.cells[index] as FileValue[]).push(value);
        this.groupBytes += value instanceof Uint8Array ? value.length : CELL_BYTES;
      });
      this.rows++;
      const { length } = this.cells[0] as FileValue[];
      if (length >= rowGroupRows || this.groupBytes >= rowGroupBytes) this.endGroup();
    }
  }

  private endGroup(): void {
    if (this.cells[0]?.length === 0) return;
    this.out.writeRowGroup(cellsOf(this.cells, this.columns));
    this.cells = this.noCells();
    this.groupBytes = 0;
  }
}
