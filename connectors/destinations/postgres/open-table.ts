import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeBatch, SchemaLookup } from '../../spi/destination.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { appendedRows } from './appended-rows.ts';
import { dedupedRows } from './deduped-rows.ts';
import { EncodedAhead } from './encoded-ahead.ts';
import { rawRows } from './raw-rows.ts';
import { generationStatements } from './generations.ts';
import type { Registration } from './registration.ts';
import { finishRebuild, StagedGeneration } from './staging.ts';
import type { OwnedTable } from './owned-table.ts';
import { prepareTable, type Prepared, type TableWish } from './table-owner.ts';
import type { Sessions } from './sessions.ts';
import { META_COLUMN, withInitials } from './table-layout.ts';
import type { PreparedBatch, StreamTable } from './stream-table.ts';
import {
  CompiledTable,
  type EncodeOptions,
  type RecordSlice,
  type TableStatements,
} from './table-batch.ts';

const NO_WISH: TableWish = { schema: null, registration: null, recordsChanges: false };

/** A stream's table while its writer is open: keeps the compiled layout up to date. */
export class OpenTable implements StreamTable {
  readonly owned: OwnedTable;
  private readonly sessions: Sessions;
  private readonly schemas: SchemaLookup;
  private readonly generation: StagedGeneration;
  isRebuilding = false;
  private current: CompiledTable | null = null;
  private readonly ahead = new EncodedAhead();
  /** Changes of the table's definition, one after the other. */
  private changing: Promise<unknown> = Promise.resolve();

  constructor(owned: OwnedTable, sessions: Sessions, schemas: SchemaLookup) {
    this.owned = owned;
    this.sessions = sessions;
    this.schemas = schemas;
    this.generation = new StagedGeneration(owned, sessions);
  }

  get stream(): string {
    return this.owned.name.stream;
  }

  get exists(): boolean {
    return this.current !== null;
  }

  register(registration: Registration): Promise<Prepared> {
    return this.inTurn(async () => {
      const latest = await this.schemas.latest(this.owned.topic);
      const prepared = await this.change({ schema: latest?.value ?? null, registration });
      this.generation.registered(prepared, registration.partition);
      return prepared;
    });
  }

  async prepare(
    schemaIds: ReadonlySet<number>,
    all: readonly RecordSlice[],
  ): Promise<PreparedBatch> {
    const compiled = await this.accept(schemaIds);
    const { layout } = compiled;
    if (!this.owned.name.isReplaced) {
      const target = this.isRebuilding ? compiled.rebuild() : compiled;
      return { layout, encode: (slices, options) => this.encode(target, slices, options) };
    }
    const isStaged = await this.generation.isThere(compiled, all);
    const staging = compiled.staging();
    return {
      layout,
      encode: (slices, options) => {
        const rows = (part: readonly RecordSlice[]) =>
          this.encode(staging, part, options).statements;
        const replaced = { schemas: compiled, tables: [layout], isStaged, rows };
        return generationStatements(replaced, slices, options);
      },
    };
  }

  /** Brings the table to where records of all these schemas fit. */
  private async accept(schemaIds: ReadonlySet<number>): Promise<CompiledTable> {
    for (;;) {
      const compiled = this.current;
      const odd = [...schemaIds].find((id) => compiled?.accepts(id) !== true);
      if (odd === undefined && compiled !== null) return compiled;
      await this.inTurn(() => this.changeFor(odd as number));
    }
  }

  encodeAhead(slices: readonly RecordSlice[], options: EncodeOptions): void {
    const { current } = this;
    if (current === null || this.isRebuilding || this.owned.name.isReplaced) return;
    this.ahead.add(current, slices, options, () => this.encodeNow(current, slices, options));
  }

  private encode(
    compiled: CompiledTable,
    slices: readonly RecordSlice[],
    options: EncodeOptions,
  ): TableStatements {
    const ahead = this.ahead.take(compiled, slices, options);
    return ahead ?? this.encodeNow(compiled, slices, options);
  }

  private encodeNow(
    compiled: CompiledTable,
    slices: readonly RecordSlice[],
    options: EncodeOptions,
  ): TableStatements {
    switch (this.owned.name.mode) {
      case 'append':
      case 'overwrite':
        return appendedRows(compiled, slices, options);
      case 'append_dedup':
        return dedupedRows(compiled, slices, options);
      case 'raw':
        return rawRows(compiled, slices, options);
    }
  }

  async recordChanges(): Promise<boolean> {
    await this.inTurn(async () => {
      const { current } = this;
      if (current === null || current.metaColumn !== -1) return;
      const isTaken = current.layout.columns.some(({ name }) => name === META_COLUMN.name);
      if (!isTaken) await this.change({ recordsChanges: true });
    });
    return this.current !== null && this.current.metaColumn !== -1;
  }

  verify(): Promise<Prepared> {
    return this.inTurn(() => this.change({}));
  }

  private async changeFor(schemaId: number): Promise<void> {
    // Another lane may have done it meanwhile.
    if (this.current?.accepts(schemaId) === true) return;
    await this.change({ schema: this.schemas.value(schemaId) ?? null });
    if (this.current?.accepts(schemaId) !== true) {
      const message = `stream ${this.stream}: the table does not take schema ${schemaId} after its change`;
      throw new PipelineError('BUG_UNEXPECTED', message);
    }
  }

  async finishRebuild(): Promise<void> {
    await this.inTurn(async () => {
      const { sessions, owned, current } = this;
      if (!this.isRebuilding || current === null) return;
      this.isRebuilding = !(await finishRebuild(sessions, owned, [current.layout]));
    });
  }

  /** `wish` is on top of what the table has. */
  private async change(wish: Partial<TableWish>): Promise<Prepared> {
    const prepared = await this.sessions.use((client) =>
      prepareTable(client, this.owned, { ...NO_WISH, ...wish }),
    );
    const { layout, partitions } = prepared;
    this.isRebuilding = partitions.some(({ isRebuild }) => isRebuild);
    if (layout !== null) {
      // An older schema does not know what a newer one told.
      const known = this.current?.layout.columns ?? [];
      this.current = new CompiledTable(withInitials(layout, known), this.schemas);
    }
    return prepared;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.changing.then(work, work);
    this.changing = turn.catch(() => undefined);
    return turn;
  }
}

/** Ids of the schemas of a batch's values and keys. */
export function collectSchemaIds(
  { records }: ChangeBatch,
  values: Set<number>,
  keys: Set<number>,
): void {
  const { bytes, valueStarts, valueEnds, keyStarts, keyEnds } = records;
  let [lastValue, lastKey] = [-1, -1];
  for (let i = 0; i < records.count; i++) {
    if (valueStarts[i] !== -1) {
      const id = schemaIdAt(bytes, valueStarts[i] as number, valueEnds[i] as number);
      if (id !== lastValue) values.add((lastValue = id));
    }
    if (keyStarts[i] !== -1) {
      const id = schemaIdAt(bytes, keyStarts[i] as number, keyEnds[i] as number);
      if (id !== lastKey) keys.add((lastKey = id));
    }
  }
}
