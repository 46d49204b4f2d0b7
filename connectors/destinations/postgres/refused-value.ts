import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import type { Column } from '../../../schemas/envelope/stream-schema.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import { exchange } from './exchange.ts';
import { columnName } from './identifiers.ts';
import { MisfitCells, nulled } from './misfit-cells.ts';
import type { PreparedBatch } from './stream-table.ts';
import { begin, type Sessions, type TransactionLimits } from './sessions.ts';
import { recordError, type EncodeOptions, type RecordSlice } from './table-batch.ts';

/** Everything a probe needs; the records are those of one table. */
export interface RefusedBatch {
  readonly stream: string;
  readonly prepared: PreparedBatch;
  readonly slices: readonly RecordSlice[];
  readonly options: EncodeOptions;
  readonly schemas: SchemaLookup;
}

const REASON: Readonly<Record<string, string>> = {
  '22021': 'it holds U+0000 or bytes that are no UTF-8',
  '22P05': 'it holds U+0000, which jsonb cannot',
  '22P02': 'it is not a value of that type there (for JSON: a lone surrogate)',
  '22001': 'it is too long',
  '22003': 'it is out of range',
  '22008': 'the date or time is out of range',
  '54001': 'it is nested too deep',
  '54000': 'it is too large for the index of the key',
};

/**
 * Finds the values that made the server refuse a batch and adds them to `misfits`, so that the batch
 * fits with NULL in their place. Throws DST_VALUE, which names record and column and never the value
 * (invariants 5 and 8), where a column cannot be NULL: one of the key, or one that is NOT NULL.
 */
export async function findMisfits(
  sessions: Sessions,
  batch: RefusedBatch,
  limits: TransactionLimits,
  misfits: MisfitCells,
): Promise<void> {
  await sessions.use((client) => new Search(client, batch, limits, misfits).all());
}

/** The error that names the first of those values; `refused` where none is found. */
export async function locateRefused(
  sessions: Sessions,
  batch: RefusedBatch,
  limits: TransactionLimits,
  refused: PipelineError,
): Promise<PipelineError> {
  return sessions.use(async (client) => {
    const search = new Search(client, batch, limits, new MisfitCells());
    return (await search.first()) ?? refused;
  });
}

/** What the server answered to a value. */
interface Refusal {
  readonly sqlstate: string;
  readonly column?: string | undefined;
}

interface Misfit {
  readonly field: string;
  readonly sqlstate: string;
}

/** Tries parts of a batch in transactions that are rolled back. */
class Search {
  private readonly client: Client;
  private readonly batch: RefusedBatch;
  private readonly limits: TransactionLimits;
  private readonly misfits: MisfitCells;
  /** Fields of which a value was refused: the next one is mostly of them, too. */
  private readonly suspects = new Set<string>();

  constructor(
    client: Client,
    batch: RefusedBatch,
    limits: TransactionLimits,
    misfits: MisfitCells,
  ) {
    this.client = client;
    this.batch = batch;
    this.limits = limits;
    this.misfits = misfits;
  }

  async all(): Promise<void> {
    for await (const [slice, context, refusal] of this.records()) {
      await this.fit(slice, context, refusal);
    }
  }

  async first(): Promise<PipelineError | null> {
    try {
      for await (const [slice, context, refusal] of this.records()) {
        const [misfit] = await this.fit(slice, context, refusal);
        return this.unfit(slice, misfit?.field ?? null, misfit?.sqlstate ?? refusal.sqlstate);
      }
      return null;
    } catch (error) {
      if (error instanceof PipelineError && error.code === 'DST_VALUE') return error;
      throw error;
    }
  }

  /** Records that are refused, each with what it is refused in; made to fit before the next is
   * looked for. */
  private async *records(): AsyncGenerator<[RecordSlice, readonly RecordSlice[], Refusal]> {
    for (const slice of this.batch.slices) yield* this.halved(slice);
    // An update of part of a row may be refused only where what made that row comes with it.
    for (;;) {
      const refused = await this.shortestRefused();
      if (refused === null) return;
      const last = refused.slices.at(-1) as RecordSlice;
      yield [{ ...last, from: last.to - 1 }, refused.slices, refused.refusal];
    }
  }

  private async *halved(
    slice: RecordSlice,
  ): AsyncGenerator<[RecordSlice, readonly RecordSlice[], Refusal]> {
    const { from, to } = slice;
    if (from === to) return;
    const refusal = await this.refusalOf([slice]);
    if (refusal === null) return;
    if (to - from === 1) {
      yield [slice, [slice], refusal];
      return;
    }
    const middle = (from + to) >> 1;
    yield* this.halved({ ...slice, to: middle });
    yield* this.halved({ ...slice, from: middle });
  }

  /** The shortest beginning of the batch that is refused. */
  private async shortestRefused() {
    const { slices } = this.batch;
    let refusal = await this.refusalOf(slices);
    if (refusal === null) return null;
    let passes = 0;
    let fails = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    while (fails - passes > 1) {
      const middle = (passes + fails) >> 1;
      const answer = await this.refusalOf(beginning(slices, middle));
      if (answer === null) passes = middle;
      else [fails, refusal] = [middle, answer];
    }
    return { slices: beginning(slices, fails), refusal };
  }

  /** Finds the fewest fields of a record that have to be NULL, tried in `context`. */
  private async fit(
    slice: RecordSlice,
    context: readonly RecordSlice[],
    refusal: Refusal,
  ): Promise<readonly Misfit[]> {
    const fields = this.fieldsOf(slice);
    for (const field of fields.filter((name) => this.suspects.has(name))) {
      const misfits = [{ field, sqlstate: refusal.sqlstate }];
      if ((await this.tried(slice, context, misfits, false)) === null) {
        return this.settled(slice, context, misfits);
      }
    }
    for (const inDocument of [false, true]) {
      let misfits: Misfit[] = fields.map((field) => ({ field, sqlstate: refusal.sqlstate }));
      if ((await this.tried(slice, context, misfits, inDocument)) !== null) continue;
      for (const field of fields) {
        const others = misfits.filter((misfit) => misfit.field !== field);
        const still = await this.tried(slice, context, others, inDocument);
        if (still === null) misfits = others;
        else misfits = [...others, { field, sqlstate: still.sqlstate }];
      }
      await this.tried(slice, context, misfits, inDocument);
      return this.settled(slice, context, misfits);
    }
    throw this.unfit(slice, this.onlyKey(slice), refusal.sqlstate);
  }

  private async tried(
    { batch, from }: RecordSlice,
    context: readonly RecordSlice[],
    misfits: readonly Misfit[],
    inDocument: boolean,
  ): Promise<Refusal | null> {
    const changes = new Map(
      misfits.map(({ field, sqlstate }) => [field, nulled(field, sqlstate)] as const),
    );
    this.misfits.set(batch.target, batch.records.offsets[from] as number, { changes, inDocument });
    return this.refusalOf(context);
  }

  /** Of misfits that were tried last. */
  private async settled(
    slice: RecordSlice,
    context: readonly RecordSlice[],
    misfits: readonly Misfit[],
  ): Promise<readonly Misfit[]> {
    const answer = await this.probe(context);
    const missing = misfits.find(({ field }) => columnName(field) === answer?.column);
    if (answer?.sqlstate === NOT_NULL && missing !== undefined) {
      throw this.unfit(slice, missing.field, missing.sqlstate, ', and the column is NOT NULL');
    }
    for (const { field } of misfits) this.suspects.add(field);
    return misfits;
  }

  /** A record's fields that may be NULL. */
  private fieldsOf(slice: RecordSlice): string[] {
    return this.columnsOf(slice).flatMap(({ name, inKey }) => (inKey ? [] : [name]));
  }

  private onlyKey(slice: RecordSlice): string | null {
    const { keys, columns } = this.batch.prepared.layout;
    const own = this.columnsOf(slice).filter(({ inKey }) => inKey);
    if (own.length > 0) return own.length === 1 ? (own[0] as Column).name : null;
    return keys.length === 1 ? (columns[keys[0] as number]?.name ?? null) : null;
  }

  private columnsOf({ batch, from }: RecordSlice): readonly Column[] {
    const { bytes, valueStarts, valueEnds } = batch.records;
    const start = valueStarts[from] as number;
    if (start === -1) return [];
    const id = schemaIdAt(bytes, start, valueEnds[from] as number);
    return this.batch.schemas.value(id)?.columns ?? [];
  }

  private unfit(
    { batch, from }: RecordSlice,
    column: string | null,
    sqlstate: string,
    more = '',
  ): PipelineError {
    const { stream, prepared } = this.batch;
    const { layout } = prepared;
    const key = layout.keys.map((i) => layout.columns[i]?.name);
    const what = column === null ? 'a value' : `the value of column "${column}"`;
    const keyed = key.length === 0 ? '' : `, key columns (${key.join(', ')})`;
    const reason = `${REASON[sqlstate] ?? 'the server refuses it'}${more}`;
    const state = sqlstate === '' ? '' : ` (SQLSTATE ${sqlstate})`;
    const message = `stream ${stream}${keyed}: ${what} cannot be stored: ${reason}${state}`;
    const error = new PipelineError('DST_VALUE', message, {
      details: { stream, column, ...(sqlstate === '' ? {} : { sqlstate }) },
    });
    return recordError(error, batch.target, batch.records, from);
  }

  private async refusalOf(slices: readonly RecordSlice[]): Promise<Refusal | null> {
    const answer = await this.probe(slices);
    // What a constraint refuses is found out by the batch itself; values come before that.
    return answer === null || answer.sqlstate.startsWith('23') ? null : answer;
  }

  private async probe(slices: readonly RecordSlice[]): Promise<Refusal | null> {
    const { prepared, options } = this.batch;
    const { client, limits, misfits } = this;
    try {
      const tried = { ...options, misfits, isProbe: true };
      const { statements } = prepared.encode(slices, tried);
      await exchange(client, [...begin(limits), ...statements, { text: 'ROLLBACK' }]);
      return null;
    } catch (error) {
      // No server has seen it.
      if (error instanceof PipelineError && error.code === 'DST_VALUE') return { sqlstate: '' };
      await exchange(client, [{ text: 'ROLLBACK' }]);
      const { code: sqlstate = '', column } = error as { code?: string; column?: string };
      if (/^(22|23|54)/.test(sqlstate)) return { sqlstate, column };
      throw error;
    }
  }
}

const NOT_NULL = '23502';

/** The first `records` of the slices. */
function beginning(slices: readonly RecordSlice[], records: number): RecordSlice[] {
  let left = records;
  return slices.flatMap((slice) => {
    const to = Math.min(slice.to, slice.from + left);
    left -= to - slice.from;
    return to === slice.from ? [] : [{ ...slice, to }];
  });
}
