import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { extended, Observed } from '../../../schemas/normalize/shape.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import { CompiledShape } from './compiled-shape.ts';
import { FetchedCells } from './fetched-cells.ts';
import { InitialValues } from './initial-values.ts';
import { normalizedStatements } from './normalized-batch.ts';
import { completed, lacksCells, missingFields, NormalizedEvents } from './normalized-events.ts';
import { listed, RESERVED_FIELDS, type NormalizedNames } from './normalized-layout.ts';
import { prepareShape, type ShapeWish } from './normalized-owner.ts';
import type { SchemaOfRecord } from './newest-by-key.ts';
import type { Sessions } from './sessions.ts';
import type { PreparedBatch, StreamTable } from './stream-table.ts';
import { located, type EncodeOptions, type RecordSlice } from './table-batch.ts';
import { generationStatements } from './generations.ts';
import type { Registration } from './registration.ts';
import { finishRebuild, StagedGeneration } from './staging.ts';
import type { OwnedTable } from './owned-table.ts';
import { showsRows } from './table-layout.ts';
import type { Prepared } from './table-owner.ts';

/** A stream as raw documents, a flat table and child tables, kept in step by every batch. */
export class NormalizedStream implements StreamTable {
  readonly owned: OwnedTable;
  private names: NormalizedNames;
  private readonly sessions: Sessions;
  private readonly schemas: SchemaLookup;
  private readonly generation: StagedGeneration;
  isRebuilding = false;
  private current: CompiledShape | null = null;
  /** Schemas that the tables have room for. */
  private readonly accepted = new Set<ChangeSchema>();
  private readonly initials: InitialValues;
  /** Changes of the tables' definition, one after the other. */
  private changing: Promise<unknown> = Promise.resolve();

  constructor(
    owned: OwnedTable,
    names: Omit<NormalizedNames, 'recordsChanges'>,
    sessions: Sessions,
    schemas: SchemaLookup,
  ) {
    this.owned = owned;
    this.names = { ...names, recordsChanges: false };
    this.initials = new InitialValues(names.rules);
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
      const schemas = latest === null ? [] : [latest.value];
      const prepared = await this.change({ schemas, observed: null, registration });
      this.generation.registered(prepared, registration.partition);
      return prepared;
    });
  }

  async recordChanges(): Promise<boolean> {
    const wish = { schemas: [], observed: null, registration: null, recordsChanges: true };
    await this.inTurn(async () => {
      // By the v2 rules there is room from the beginning.
      if (!this.names.recordsChanges && this.names.rules !== 'v2') await this.change(wish);
    });
    return true;
  }

  verify(): Promise<Prepared> {
    return this.inTurn(() => this.change({ schemas: [], observed: null, registration: null }));
  }

  async prepare(
    schemaIds: ReadonlySet<number>,
    slices: readonly RecordSlice[],
    { isReplay }: EncodeOptions,
  ): Promise<PreparedBatch> {
    const schemas = [...schemaIds].map((id) => this.schemas.value(id) as ChangeSchema);
    const { rules } = this.names;
    const { mode, primaryKey } = this.owned.name;
    await this.makeRoom(schemas, new Observed(rules));
    const isDeduped = mode === 'append_dedup';
    const events = new NormalizedEvents(this.schemaOfRecord(), slices, isDeduped);
    if (isDeduped) await this.fetchCells(events, isReplay === true);
    const initials = showsRows(mode) ? this.initials : null;
    events.flatten({ rules, isDeduped, primaryKey, initials });
    const observed = new Observed(rules);
    for (const { flat } of events.inOrder) if (flat !== null) observed.document(flat.document);
    const compiled = await this.makeRoom(schemas, observed);
    const { flat: layout } = compiled;
    if (!this.owned.name.isReplaced) {
      const target = this.isRebuilding ? compiled.staging() : compiled;
      const encode: PreparedBatch['encode'] = (part, options) =>
        normalizedStatements(target, events, part, options);
      return { layout, encode };
    }
    return { layout, encode: await this.replacing(compiled, events, slices) };
  }

  /** Encodes what replaces the tables as a whole. */
  private async replacing(
    compiled: CompiledShape,
    events: NormalizedEvents,
    all: readonly RecordSlice[],
  ): Promise<PreparedBatch['encode']> {
    const schemas = this.schemaOfRecord();
    const isStaged = await this.generation.isThere(schemas, all);
    const staging = compiled.staging();
    const tables = listed(compiled.tables);
    return (slices, options) => {
      const rows = (part: readonly RecordSlice[]) =>
        normalizedStatements(staging, events, part, options).statements;
      return generationStatements({ schemas, tables, isStaged, rows }, slices, options);
    };
  }

  private schemaOfRecord(): SchemaOfRecord {
    return {
      plan: (bytes, start, end) => {
        const schema = this.schemas.value(schemaIdAt(bytes, start, end));
        if (schema !== undefined) return { schema };
        throw new PipelineError('EVT_UNDECODABLE', 'a record has no schema');
      },
    };
  }

  /** Completes updates whose unchanged cells only the target has. */
  private async fetchCells(events: NormalizedEvents, isReplay: boolean): Promise<void> {
    const incomplete = events.incomplete();
    if (incomplete.length === 0) return;
    const current = this.current as CompiledShape;
    const target = this.isRebuilding ? current.staging() : current;
    const fetched = new FetchedCells(target, incomplete, this.initials);
    await this.sessions.use((client) => fetched.read(client));
    incomplete.forEach((event, i) => {
      event.kept = fetched.changes(i, missingFields(event.image));
      event.image = completed(event.image, (name) => fetched.cell(i, name));
      // A row that is gone by the time the replay has come as far as the table was.
      if (!lacksCells(event) || isReplay) return;
      const { stream } = this;
      const message = `stream ${stream}: an update without all its columns met no row, or no raw row, to complete it`;
      const error = new PipelineError('DST_ROW_INCOMPLETE', message, { details: { stream } });
      throw located(error, event.slice, event.index);
    });
  }

  /** Brings the tables to where records of these schemas and documents fit. */
  private async makeRoom(
    schemas: readonly ChangeSchema[],
    observed: Observed,
  ): Promise<CompiledShape> {
    for (;;) {
      const compiled = this.current;
      const isReady = compiled !== null && schemas.every((schema) => this.accepted.has(schema));
      if (isReady && this.holds(compiled, observed)) return compiled;
      await this.inTurn(() => this.change({ schemas, observed, registration: null }));
    }
  }

  private holds({ shape }: CompiledShape, observed: Observed): boolean {
    const { schema } = this.owned.name;
    const { stream, rules } = this.names;
    const naming = { schema, stream, rules, reserved: RESERVED_FIELDS, isTaken: () => false };
    return extended(shape, observed, naming) === shape;
  }

  private async change(wish: ShapeWish): Promise<Prepared> {
    this.initials.learn(wish.schemas);
    const { shape, partitions, recordsChanges } = await this.sessions.use((client) =>
      prepareShape(client, this.owned, this.names, this.initials, wish),
    );
    this.isRebuilding = partitions.some(({ isRebuild }) => isRebuild);
    if (shape === null) return { layout: null, partitions };
    this.names = { ...this.names, recordsChanges };
    for (const schema of wish.schemas) this.accepted.add(schema);
    const { owned, names, schemas, initials } = this;
    this.current = new CompiledShape(owned.name, names, shape, schemas, initials);
    return { layout: this.current.flat, partitions };
  }

  async finishRebuild(): Promise<void> {
    await this.inTurn(async () => {
      const { sessions, owned, current } = this;
      if (!this.isRebuilding || current === null) return;
      this.isRebuilding = !(await finishRebuild(sessions, owned, listed(current.tables)));
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.changing.then(work, work);
    this.changing = turn.catch(() => undefined);
    return turn;
  }
}
