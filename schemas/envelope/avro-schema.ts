import { KIND_IN_AVRO, type ColumnKind } from '../values/column-type.ts';
import type { Column, StreamSchema } from './stream-schema.ts';

/**
 * The Avro schemas of a topic's key and value, in Debezium's shape and names, and the way back from
 * such a schema to the StreamSchema it was made from. Connect's Avro converters read them as they are.
 */

export type AvroSchema = string | AvroObject | readonly AvroSchema[];
export interface AvroObject {
  readonly type: AvroSchema;
  readonly [key: string]: unknown;
}
export interface AvroField {
  readonly name: string;
  readonly type: AvroSchema;
  readonly default?: unknown;
}
export interface AvroRecord extends AvroObject {
  readonly type: 'record';
  readonly name: string;
  readonly namespace: string;
  readonly fields: readonly AvroField[];
}

const COLUMN_TYPE = '__debezium.source.column.type';
const COLUMN_NAME = '__debezium.source.column.name';
const INITIAL_TEXT = 'headrace.initial';
const INITIAL_AVRO = 'headrace.initial.avro';

/** Fields of the source block in the order they are encoded: what a stream's events share comes
 * first, so that an encoder copies it as one prepared run of bytes. */
export const SOURCE_FIELDS = [
  { name: 'connector', type: 'string' },
  { name: 'name', type: 'string' },
  { name: 'db', type: 'string' },
  { name: 'schema', type: 'string' },
  { name: 'table', type: 'string' },
  { name: 'snapshot', type: 'string' },
  { name: 'ts_ms', type: 'long' },
  { name: 'ts_us', type: 'long' },
  { name: 'txId', type: 'long' },
  { name: 'lsn', type: 'long' },
  { name: 'seq', type: 'int' },
  { name: 'epoch', type: 'int' },
] as const satisfies readonly AvroField[];

/** Debezium's rule for names that Avro does not allow: each illegal character becomes `_`. */
export function avroName(text: string): string {
  const legal = text.replace(/[^A-Za-z0-9_]/gu, '_');
  return /^[0-9]/.test(legal) || legal === '' ? `_${legal}` : legal;
}

export function avroNamespace(topic: string): string {
  return topic.split('.').map(avroName).join('.');
}

/** Avro names of the columns, in order; two columns that become alike get a number behind. */
export function avroFieldNames(columns: readonly Column[]): string[] {
  const taken = new Set<string>();
  return columns.map((column) => {
    const base = avroName(column.name);
    let name = base;
    for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
    taken.add(name);
    return name;
  });
}

export function keyAvroSchema(topic: string, schema: StreamSchema): AvroRecord {
  const names = avroFieldNames(schema.columns);
  const fields = schema.key.map((keyName) => {
    const index = schema.columns.findIndex((column) => column.name === keyName);
    const column = schema.columns[index] as Column;
    return { name: names[index] as string, type: columnAvroType(column, names[index] as string) };
  });
  return record('Key', topic, fields, { 'connect.name': `${avroNamespace(topic)}.Key` });
}

export function valueAvroSchema(topic: string, schema: StreamSchema): AvroRecord {
  const namespace = avroNamespace(topic);
  const names = avroFieldNames(schema.columns);
  const row = record(
    'Value',
    topic,
    schema.columns.map((column, index) => {
      const name = names[index] as string;
      const type = columnAvroType(column, name);
      // Every column but the key's is nullable: a before image holds the key alone, and a cell that
      // the source did not send is null here and listed in `unchanged`.
      return column.inKey ? { name, type } : { name, type: ['null', type], default: null };
    }),
    { 'connect.name': `${namespace}.Value` },
  );
  const source = {
    type: 'record',
    name: 'Source',
    namespace: 'io.debezium.connector.postgresql',
    fields: SOURCE_FIELDS,
    'connect.name': 'io.debezium.connector.postgresql.Source',
  } as const;
  return record(
    'Envelope',
    topic,
    [
      { name: 'before', type: ['null', row], default: null },
      { name: 'after', type: ['null', `${namespace}.Value`], default: null },
      { name: 'source', type: source },
      { name: 'op', type: 'string' },
      { name: 'ts_ms', type: ['null', 'long'], default: null },
      {
        name: 'unchanged',
        type: ['null', { type: 'array', items: 'string' }],
        default: null,
      },
    ],
    { 'connect.name': `${namespace}.Envelope` },
  );
}

function record(
  name: string,
  topic: string,
  fields: readonly AvroField[],
  extra: Record<string, unknown>,
): AvroRecord {
  return { type: 'record', name, namespace: avroNamespace(topic), fields, ...extra };
}

function columnAvroType(column: Column, fieldName: string): AvroSchema {
  const { kind, precision, scale, native } = column.type;
  const avro = KIND_IN_AVRO[kind];
  const parameters: Record<string, string> = {};
  if (native !== undefined) parameters[COLUMN_TYPE] = native;
  if (fieldName !== column.name) parameters[COLUMN_NAME] = column.name;
  if (precision !== undefined) parameters['precision'] = String(precision);
  if (scale !== undefined) parameters['scale'] = String(scale);
  if (column.initial !== undefined) {
    parameters[INITIAL_TEXT] = column.initial.text;
    parameters[INITIAL_AVRO] = column.initial.avro;
  }
  return {
    type: avro.primitive,
    ...(avro.connectType === undefined ? {} : { 'connect.type': avro.connectType }),
    ...(avro.connectName === undefined ? {} : { 'connect.name': avro.connectName }),
    ...(avro.logicalType === undefined ? {} : { logicalType: avro.logicalType }),
    ...(Object.keys(parameters).length === 0 ? {} : { 'connect.parameters': parameters }),
  };
}

/** The StreamSchema that a value schema was made from; `key` is empty, for it is not written there. */
export function columnsOfRow(row: AvroRecord): Column[] {
  return row.fields.map((field) => {
    const nullable = Array.isArray(field.type);
    const type = (nullable ? (field.type as AvroSchema[])[1] : field.type) as AvroObject | string;
    return { ...columnOfAvro(field.name, type), inKey: !nullable };
  });
}

function columnOfAvro(name: string, avro: AvroObject | string): Omit<Column, 'inKey'> {
  const object: AvroObject = typeof avro === 'string' ? { type: avro } : avro;
  const parameters = (object['connect.parameters'] ?? {}) as Record<string, string>;
  const precision = parameters['precision'];
  const scale = parameters['scale'];
  const native = parameters[COLUMN_TYPE];
  const text = parameters[INITIAL_TEXT];
  const bytes = parameters[INITIAL_AVRO];
  return {
    name: parameters[COLUMN_NAME] ?? name,
    type: {
      kind: kindOfAvro(object),
      ...(precision === undefined ? {} : { precision: Number(precision) }),
      ...(scale === undefined ? {} : { scale: Number(scale) }),
      ...(native === undefined ? {} : { native }),
    },
    ...(text === undefined || bytes === undefined ? {} : { initial: { text, avro: bytes } }),
  };
}

const KIND_BY_PRIMITIVE: Record<string, ColumnKind> = {
  boolean: 'boolean',
  int: 'int32',
  long: 'int64',
  float: 'float32',
  double: 'float64',
  bytes: 'bytes',
  string: 'string',
};

const KIND_BY_CONNECT_NAME = new Map<unknown, ColumnKind>(
  (Object.keys(KIND_IN_AVRO) as ColumnKind[])
    .filter((kind) => KIND_IN_AVRO[kind].connectName !== undefined)
    .map((kind) => [KIND_IN_AVRO[kind].connectName, kind]),
);

function kindOfAvro(avro: AvroObject): ColumnKind {
  const named = KIND_BY_CONNECT_NAME.get(avro['connect.name']);
  if (named !== undefined) return named;
  if (avro['connect.type'] === 'int16') return 'int16';
  return KIND_BY_PRIMITIVE[avro.type as string] ?? 'string';
}

/** The row record inside an envelope schema. */
export function rowOfEnvelope(envelope: AvroRecord): AvroRecord {
  const before = envelope.fields.find((field) => field.name === 'before');
  return ((before as AvroField).type as readonly AvroSchema[])[1] as AvroRecord;
}

/** Subjects under which a topic's schemas are registered, as the Confluent registry names them. */
export function subjectsOf(topic: string): { key: string; value: string } {
  return { key: `${topic}-key`, value: `${topic}-value` };
}
