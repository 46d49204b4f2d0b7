import {
  ChangeCursor,
  OP_TRUNCATE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { ChangeRuns } from './change-runs.ts';
import { FieldSearch } from './field-search.ts';
import type { FileColumn } from './file-columns.ts';
import type { FoundField } from './json-fields.ts';
import { KeyMerge, type Merged, type MergeSpec } from './key-merge.ts';
import { laterOf, positionOf, type Position } from './position.ts';
import type { RecordChunk } from './spool-builder.ts';

export interface KeyedSpoolSpec {
  readonly id: number;
  /** Path of the spooled runs; each has a number behind. */
  readonly path: string;
  /** Hash that names topic and partition in row ids. */
  readonly idHash: string;
  /** Look for fields of JSON documents that these columns lack; null to look for none. */
  readonly columns: readonly FileColumn[] | null;
}

/** What a spool that takes no more records holds. */
export interface KeyedContent {
  /** Bytes of the changes of each hash slot. */
  readonly slotBytes: Float64Array;
  /** The stream was emptied among them. */
  readonly truncated: boolean;
  /** What no column was known for when the spool was opened. */
  readonly fields: readonly FoundField[];
}

/** The changes of one partition since its last generation, waiting to be merged into the next. */
export class KeyedSpool {
  private readonly spec: KeyedSpoolSpec;
  private readonly schemas: ReadonlyMap<number, ChangeSchema>;
  private readonly runs: ChangeRuns;
  private readonly change = new ChangeCursor();
  private truncate: Position | null = null;
  private readonly search: FieldSearch | null;

  constructor(spec: KeyedSpoolSpec, schemas: ReadonlyMap<number, ChangeSchema>) {
    this.spec = spec;
    this.search = spec.columns === null ? null : new FieldSearch(spec.columns, schemas);
    this.schemas = schemas;
    this.runs = new ChangeRuns(spec.path);
  }

  add(chunk: RecordChunk): void {
    this.runs.add(chunk, {
      mark: (bytes, start, end) => this.mark(bytes, start, end),
      row: (bytes, start, end) => this.search?.value(bytes, start, end),
    });
  }

  private mark(bytes: Buffer, start: number, end: number): void {
    const schema = this.schemas.get(schemaIdAt(bytes, start, end)) as ChangeSchema;
    this.change.decode(schema, bytes, start, end);
    if (this.change.op !== OP_TRUNCATE) return;
    this.truncate = laterOf(this.truncate, positionOf(this.change));
  }

  get bytes(): number {
    return this.runs.bytes;
  }

  seal(): KeyedContent {
    this.runs.seal();
    const fields = this.search?.found ?? [];
    return { slotBytes: this.runs.slotBytes(), truncated: this.truncate !== null, fields };
  }

  merge(spec: MergeSpec): Promise<Merged> {
    const { runs, schemas, truncate } = this;
    return new KeyMerge(spec, { runs, schemas, truncate, idHash: this.spec.idHash }).run();
  }

  discard(): void {
    this.runs.discard();
  }
}
