import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  CELL_UNCHANGED,
  ChangeCursor,
  OP_CREATE,
  OP_DELETE,
} from '../../../schemas/envelope/change-decoder.ts';
import { WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import { flattenDocument, type FlatDocument } from '../../../schemas/normalize/flatten.ts';
import {
  hashId,
  parseJson,
  textOf,
  type JsonValue,
} from '../../../schemas/normalize/json-value.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';
import { isDocument } from './airbyte-types.ts';
import { cellJson, type RowImage } from './event-json.ts';
import type { InitialValues } from './initial-values.ts';
import { KeySlots } from './key-slots.ts';
import type { SchemaOfRecord } from './newest-by-key.ts';
import { imageOf } from './raw-rows.ts';
import type { FieldChange } from './row-meta.ts';
import { located, type RecordSlice } from './table-batch.ts';

/** One change on its way into normalized tables. */
export interface NormalizedEvent {
  readonly slice: RecordSlice;
  readonly index: number;
  readonly change: ChangeCursor;
  /** Replaced when cells that the source did not send were found. */
  image: RowImage;
  /** What became of fields that were taken from the row before. */
  kept: readonly FieldChange[];
  /** The event before it of the same key in the batch; null for the first. */
  readonly previous: NormalizedEvent | null;
  /** Null by rules that take no documents apart. */
  flat: TakenApart | null;
}

interface TakenApart {
  readonly document: FlatDocument;
  readonly hash: string;
  /** Hash of the key; of no meaning without one. */
  readonly uniqueKey: string;
}

export interface FlattenRules {
  readonly rules: Rules;
  readonly isDeduped: boolean;
  readonly primaryKey: readonly string[];
  /** Null where rows are a history. */
  readonly initials: InitialValues | null;
}

/** The events of a batch by where they stand. */
export class NormalizedEvents {
  readonly inOrder: NormalizedEvent[] = [];
  private readonly byPlace = new Map<RecordSlice['batch'], Map<number, NormalizedEvent>>();

  constructor(schemas: SchemaOfRecord, slices: readonly RecordSlice[], deduped: boolean) {
    const records = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    const slots = deduped ? new KeySlots(records) : null;
    const newest: NormalizedEvent[] = [];
    for (const slice of slices) {
      const places = new Map<number, NormalizedEvent>();
      this.byPlace.set(slice.batch, places);
      for (let i = slice.from; i < slice.to; i++) {
        const event = read(schemas, slice, i, (slot) => newest[slot] ?? null, slots);
        if (event === null) continue;
        if (event.slot !== -1) newest[event.slot] = event;
        this.inOrder.push(event);
        places.set(i, event);
      }
    }
  }

  at(slice: RecordSlice, index: number): NormalizedEvent {
    return this.byPlace.get(slice.batch)?.get(index) as NormalizedEvent;
  }

  /** Those whose missing cells are in the table, if anywhere. */
  incomplete(): NormalizedEvent[] {
    return this.inOrder.filter((event) => event.previous === null && lacksCells(event));
  }

  /** Fills what updates left out from the event before, in order, and takes the documents apart. */
  flatten(how: FlattenRules): void {
    const { initials } = how;
    for (const event of this.inOrder) {
      try {
        const { previous } = event;
        if (how.isDeduped && previous !== null && lacksCells(event)) {
          const missing = missingFields(event.image);
          event.kept = previous.kept.filter(({ field }) => missing.includes(field));
          event.image = completed(event.image, (name) => cellBytes(previous.image, name));
        }
        if (how.rules === 'v2') continue;
        event.flat = flatten(event.image, how, event.change.hasAfter ? initials : null);
      } catch (error) {
        throw located(asPipelineError(error), event.slice, event.index);
      }
    }
  }
}

function read(
  schemas: SchemaOfRecord,
  slice: RecordSlice,
  index: number,
  newestOf: (slot: number) => NormalizedEvent | null,
  slots: KeySlots | null,
): (NormalizedEvent & { slot: number }) | null {
  const { bytes, keyStarts, keyEnds, valueStarts, valueEnds } = slice.batch.records;
  const start = valueStarts[index] as number;
  if (start === -1) return null;
  const end = valueEnds[index] as number;
  try {
    const { schema } = schemas.plan(bytes, start, end);
    const change = new ChangeCursor();
    change.decode(schema, bytes, start, end);
    if (!change.isRow) return null;
    const key = keyStarts[index] as number;
    const slot =
      slots === null || key === -1
        ? -1
        : slots.slotOf(bytes, key + WIRE_HEADER_BYTES, keyEnds[index] as number);
    const previous = slot === -1 ? null : newestOf(slot);
    return {
      slice,
      index,
      change,
      image: imageOf(schema, bytes, change),
      kept: [],
      previous,
      flat: null,
      slot,
    };
  } catch (error) {
    throw located(error, slice, index);
  }
}

/** A new row that lacks cells was gone before they could be read: nothing has them. */
export function lacksCells({ change, image }: NormalizedEvent): boolean {
  if (!change.hasUnchanged || change.op === OP_CREATE || change.op === OP_DELETE) return false;
  return missingCells(image).length > 0;
}

export function missingCells({ schema, spans, patches }: RowImage): number[] {
  return schema.columns.flatMap((_, cell) =>
    spans[cell * 2] === CELL_UNCHANGED && patches?.has(cell) !== true ? [cell] : [],
  );
}

export function missingFields(image: RowImage): string[] {
  return missingCells(image).map((cell) => image.schema.columns[cell]?.name as string);
}

/** The image with every missing cell taken from `find`; what that does not know stays missing. */
export function completed(
  image: RowImage,
  find: (column: string) => Buffer | null | undefined,
): RowImage {
  const patches = new Map(image.patches ?? []);
  for (const cell of missingCells(image)) {
    const bytes = find(image.schema.columns[cell]?.name as string);
    if (bytes !== undefined) patches.set(cell, bytes);
  }
  return { ...image, patches };
}

function cellBytes({ schema, bytes, spans, patches }: RowImage, column: string) {
  const cell = schema.row.indexByName.get(column);
  if (cell === undefined) return null;
  const patch = patches?.get(cell);
  if (patch !== undefined) return patch;
  const start = spans[cell * 2] as number;
  if (start === CELL_UNCHANGED) return undefined;
  return start < 0 ? null : bytes.subarray(start, spans[cell * 2 + 1]);
}

/** The hash id is made of all fields of the row, the documents of those that hold one. */
function flatten(
  image: RowImage,
  { rules, primaryKey }: FlattenRules,
  initials: InitialValues | null,
): TakenApart {
  const texts: string[] = [];
  const documents = new Map<string, JsonValue>();
  const { columns } = image.schema;
  columns.forEach(({ name, type }, cell) => {
    const json = cellJson(image, cell);
    const value = json === undefined ? null : parseJson(json);
    texts.push(textOf(value));
    if (isDocument(type, rules)) documents.set(name, value);
  });
  for (const [name, value] of initials?.absent(columns) ?? []) documents.set(name, value);
  const hash = hashId(texts);
  const keys = primaryKey.map((key) => texts[columns.findIndex(({ name }) => name === key)] ?? '');
  return { document: flattenDocument(documents, hash, rules), hash, uniqueKey: hashId(keys) };
}

function asPipelineError(error: unknown): unknown {
  if (!(error instanceof SyntaxError || error instanceof RangeError)) return error;
  return new PipelineError('DST_VALUE', `a document cannot be taken apart: ${error.message}`);
}
