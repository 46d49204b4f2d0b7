import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type {
  ChangeBatch,
  DestinationOpenOptions,
  DestinationWriter,
  PartitionTarget,
} from '../../spi/destination.ts';
import { applyBatch, type BatchWork } from './batch-transaction.ts';
import type { PostgresTarget } from './config.ts';
import { classify } from './errors.ts';
import { exchange } from './exchange.ts';
import { OFFSETS_TABLE } from './identifiers.ts';
import {
  addReplayColumns,
  createOffsets,
  readPartitions,
  selectPartitions,
} from './offset-store.ts';
import { NormalizedStream } from './normalized-stream.ts';
import { OpenTable } from './open-table.ts';
import { fenced, PartitionState } from './partition-state.ts';
import { Refusals } from './refusals.ts';
import { Retries } from './retries.ts';
import { createShapes } from './shape-store.ts';
import { begin, Sessions, type TransactionLimits } from './sessions.ts';
import { streamTables } from './stream-tables.ts';
import type { StreamTable } from './stream-table.ts';
import type { EncodeOptions, RecordSlice } from './table-batch.ts';
import { ensureSchema } from './table-catalog.ts';
import type { TableMode } from './table-layout.ts';
import { TablePart } from './table-part.ts';

export interface WriterLimits extends TransactionLimits {
  readonly lanes: number;
  /** How long a batch is tried again before its failure is reported. */
  readonly retryForMs: number;
}

export const DEFAULT_LIMITS: WriterLimits = {
  lanes: 2,
  lockTimeoutMs: 5000,
  statementTimeoutMs: 60_000,
  retryForMs: 20_000,
};

type Next = () => readonly ChangeBatch[];

interface Step {
  readonly state: PartitionState;
  readonly next: number;
}

/** Writes a connection's batches into tables, each `write` in one transaction of the target. */
export class PostgresWriter implements DestinationWriter {
  readonly lanes: number;
  private readonly options: DestinationOpenOptions;
  private readonly target: PostgresTarget;
  private readonly limits: WriterLimits;
  private readonly sessions: Sessions;
  private readonly retries: Retries;
  private readonly refusals: Refusals;
  private readonly tables = new Map<string, StreamTable>();
  private readonly partitions = new Map<string, PartitionState>();
  private home: Promise<void> | null = null;
  private turn: Promise<void> = Promise.resolve();

  constructor(options: DestinationOpenOptions, target: PostgresTarget, limits: WriterLimits) {
    this.options = options;
    this.target = target;
    this.limits = limits;
    this.lanes = limits.lanes;
    this.sessions = new Sessions(target, limits.lanes);
    this.retries = new Retries({
      sessions: this.sessions,
      home: target.schema,
      forMs: limits.retryForMs,
      signal: options.signal,
    });
    this.refusals = new Refusals({
      sessions: this.sessions,
      schemas: options.schemas,
      limits,
      stopsAtMisfits: target.stopsAtMisfits,
      retrying: (table, work) => this.retries.run([table], work),
    });
  }

  async open(target: PartitionTarget): Promise<number | null> {
    const table = this.tableOf(target);
    const prepared = await this.retries.run([table], async () => {
      await this.ensureHome();
      return table.register({ partition: target.partition, replay: target.replay ?? null });
    });
    const row = prepared.partitions.find(({ partition }) => partition === target.partition);
    const state = new PartitionState(target, table, row);
    this.partitions.set(partitionKey(target), state);
    return state.stored;
  }

  async write(batches: readonly ChangeBatch[], next?: Next): Promise<void> {
    await this.settle(batches.map(({ target }) => this.stateOf(target)));
    const parts = batches.map((batch) => this.stateOf(batch.target).split(batch));
    await this.writeOnce(
      parts.flatMap(([first]) => first as ChangeBatch),
      next,
    );
    await this.writeOnce(parts.flatMap(([, rest]) => rest ?? []));
  }

  private async writeOnce(batches: readonly ChangeBatch[], next?: Next): Promise<void> {
    const steps: Step[] = [];
    const parts = new Map<StreamTable, TablePart>();
    for (const batch of batches) {
      const state = this.stateOf(batch.target);
      const slice = state.unapplied(batch);
      if (state.position !== null && batch.nextOffset <= state.position) continue;
      steps.push({ state, next: batch.nextOffset });
      if (slice.from === slice.to) continue;
      const part = parts.get(state.table) ?? new TablePart(state.table);
      parts.set(state.table, part);
      await part.add(slice, this.options.schemas);
    }
    if (parts.size === 0 && !steps.some(({ state }) => state.table.isRebuilding)) {
      // Control records alone: nothing to make durable, and the offset is stored with what follows.
      for (const { state, next } of steps) state.position = next;
      return;
    }
    await this.apply([...parts.values()], steps, next);
  }

  durableOffset(target: PartitionTarget): number {
    const { table, position } = this.stateOf(target);
    // What is rebuilt is not to be seen yet.
    return table.isRebuilding ? 0 : (position ?? 0);
  }

  async opened(topic: string): Promise<void> {
    for (const table of this.tables.values()) {
      if (table.owned.topic === topic && table.isRebuilding) await this.applyInTurn([], []);
    }
  }

  async flush(): Promise<void> {
    await this.settle([...this.partitions.values()]);
    const steps = [...this.partitions.values()]
      .filter(({ stored, position }) => position !== stored)
      .map((state) => ({ state, next: state.position as number }));
    if (steps.length > 0) await this.apply([], steps);
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.sessions.close();
    }
  }

  private tableOf({ stream, topic }: PartitionTarget): StreamTable {
    const { schema, final, raw, history } = streamTables(this.target, stream);
    const table = (final ?? raw?.table) as string;
    const label = streamLabel(stream.stream);
    const key = JSON.stringify([schema, table]);
    const known = this.tables.get(key);
    const isBookkeeping = schema === this.target.schema && table === OFFSETS_TABLE;
    if (isBookkeeping || (known !== undefined && known.owned.topic !== topic)) {
      const other = isBookkeeping ? 'our bookkeeping' : `stream ${known?.stream}`;
      const message = `stream ${label}: its table "${schema}"."${table}" is that of ${other}`;
      throw new PipelineError('DST_NAME_CONFLICT', message, { details: { stream: label } });
    }
    if (known !== undefined) return known;
    const { primaryKey } = stream;
    const { normalization } = this.target;
    const mode: TableMode = normalization === 'raw' ? 'raw' : stream.mode;
    const isReplaced = stream.mode === 'overwrite';
    const name = { schema, table, mode, primaryKey, stream: label, isReplaced };
    const { connectionId, schemas } = this.options;
    const owned = { home: this.target.schema, connectionId, topic, name };
    let opened: StreamTable;
    if (normalization === 'typed' || normalization === 'raw' || raw === null) {
      opened = new OpenTable(owned, this.sessions, schemas);
    } else {
      const names = { rules: normalization, raw, history, stream: stream.name };
      opened = new NormalizedStream(owned, names, this.sessions, schemas);
    }
    this.tables.set(key, opened);
    return opened;
  }

  /** Makes the bookkeeping table, once. */
  private ensureHome(): Promise<void> {
    this.home ??= this.sessions
      .use(async (client) => {
        const { schema } = this.target;
        await exchange(client, begin(this.limits));
        await ensureSchema(client, schema);
        const hasShapes = !['typed', 'raw'].includes(this.target.normalization);
        const shapes = hasShapes ? [createShapes(schema)] : [];
        await exchange(client, [
          createOffsets(schema),
          addReplayColumns(schema),
          ...shapes,
          { text: 'COMMIT' },
        ]);
      })
      .catch((error: unknown) => {
        this.home = null;
        throw error;
      });
    return this.home;
  }

  private stateOf(target: PartitionTarget): PartitionState {
    const state = this.partitions.get(partitionKey(target));
    if (state === undefined) throw fenced(target, 'the partition was not opened');
    return state;
  }

  /** Finds out whether attempts that failed have committed. */
  private async settle(states: readonly PartitionState[]): Promise<void> {
    for (const state of states) {
      if (state.uncertain === null) continue;
      const { topic, partition } = state.target;
      const { schema } = this.target;
      const select = selectPartitions(schema, this.options.connectionId, topic);
      const [answer] = await this.retries.run([state.table], () =>
        this.sessions.use((client) => exchange(client, [select])),
      );
      const row = readPartitions(answer?.rows ?? []).find((r) => r.partition === partition);
      if (row !== undefined) state.settle(row.nextOffset);
    }
  }

  private async apply(
    given: readonly TablePart[],
    steps: readonly Step[],
    next?: Next,
  ): Promise<void> {
    const isRebuilding = [...this.tables.values()].some((table) => table.isRebuilding);
    await (isRebuilding ? this.applyInTurn(given, steps) : this.applyNow(given, steps, next));
  }

  /** One at a time: the end of a rebuild changes where rows go. */
  private async applyInTurn(given: readonly TablePart[], steps: readonly Step[]): Promise<void> {
    const turn = this.turn.then(async () => {
      if (steps.length > 0) await this.applyNow(given, steps);
      for (const table of this.tables.values()) {
        if (table.isRebuilding) await this.retries.run([table], () => table.finishRebuild());
      }
    });
    this.turn = turn.catch(() => undefined);
    await turn;
  }

  private async applyNow(
    given: readonly TablePart[],
    steps: readonly Step[],
    next?: Next,
  ): Promise<void> {
    // Tombstones alone, for a table that was never made, delete nothing.
    const parts = given.filter(({ table, valueIds }) => valueIds.size > 0 || table.exists);
    const options = { softDeletes: this.target.softDeletes, emittedAtMs: Date.now() };
    for (const part of parts) {
      const { table } = part;
      part.isReplay = steps.every(
        ({ state, next }) => state.table !== table || state.isReplay(next),
      );
      await this.retries.run([table], () => part.prepare(options));
    }
    const sent = next && (() => this.encodeAhead(next(), options));
    while (!(await this.applied(parts, steps, options, sent)));
    for (const { state, next } of steps) state.advance(next);
    for (const { table, misfits } of parts) {
      const counts = misfits?.counts;
      if (counts !== undefined && counts.size > 0) this.options.nulled?.(table.stream, counts);
    }
  }

  /** False when values that do not fit were found, which become NULL in the next attempt. */
  private async applied(
    parts: readonly TablePart[],
    steps: readonly Step[],
    options: EncodeOptions,
    sent: BatchWork['sent'],
  ): Promise<boolean> {
    const tables = parts.map(({ table }) => table);
    const { connectionId } = this.options;
    try {
      const work: BatchWork = {
        sent,
        home: this.target.schema,
        connectionId,
        steps,
        tables: parts.map((part) => ({ table: part.table, encoded: part.encode(options) })),
      };
      await this.retries.run(tables, () =>
        this.sessions.use((client) => applyBatch(client, work, this.limits)),
      );
      return true;
    } catch (thrown) {
      const error = classify(thrown, 'writing a batch');
      const part = parts.find(({ table }) => table.stream === error.details['stream']);
      if (part?.prepared == null) throw error;
      if (await this.refusals.madeToFit(error, part, options)) return false;
      throw await this.refusals.explained(error, part, options);
    }
  }

  private encodeAhead(batches: readonly ChangeBatch[], options: EncodeOptions): void {
    const slices = new Map<StreamTable, RecordSlice[]>();
    for (const batch of batches) {
      const state = this.partitions.get(partitionKey(batch.target));
      if (state === undefined || state.replays(batch)) return;
      const known = slices.get(state.table) ?? [];
      slices.set(state.table, [...known, { batch, from: 0, to: batch.records.count }]);
    }
    for (const [table, its] of slices) table.encodeAhead?.(its, options);
  }
}

function partitionKey({ topic, partition }: PartitionTarget): string {
  return `${topic}/${partition}`;
}
