import type { ColumnKind } from '../values/column-type.ts';
import type { StreamSchema } from '../envelope/stream-schema.ts';

type JsonType = Readonly<Record<string, unknown>>;

/** A column's type in an Airbyte catalog, by our kind. */
const TYPE_BY_KIND: Readonly<Record<ColumnKind, JsonType>> = {
  boolean: { type: 'boolean' },
  int16: { type: 'number', airbyte_type: 'integer' },
  int32: { type: 'number', airbyte_type: 'integer' },
  int64: { type: 'number', airbyte_type: 'integer' },
  float32: { type: 'number' },
  float64: { type: 'number' },
  decimal: { type: 'number' },
  string: { type: 'string' },
  bytes: { type: 'string', contentEncoding: 'base64' },
  date: { type: 'string', format: 'date' },
  time: { type: 'string', format: 'time', airbyte_type: 'time_without_timezone' },
  timestamp: { type: 'string', format: 'date-time', airbyte_type: 'timestamp_without_timezone' },
  timestamptz: { type: 'string', format: 'date-time', airbyte_type: 'timestamp_with_timezone' },
  timetz: { type: 'string', format: 'time', airbyte_type: 'time_with_timezone' },
  interval: { type: 'string' },
  uuid: { type: 'string' },
  json: { type: 'string' },
  xml: { type: 'string' },
  enum: { type: 'string' },
  bits: { type: 'string' },
  array: { type: 'array' },
};

/** The `jsonSchema` of an Airbyte stream: one property per column, in column order. */
export function jsonSchemaOf(schema: Pick<StreamSchema, 'columns'>): Record<string, unknown> {
  return {
    type: 'object',
    properties: Object.fromEntries(
      schema.columns.map((column) => [column.name, TYPE_BY_KIND[column.type.kind]]),
    ),
  };
}
