/**
 * The canonical value types: what a value is between a source and a destination, and how it lies
 * in Avro. A source maps its own types to these; a destination maps these to its own.
 *
 * Text kinds keep the value exactly, as the source printed it under our session settings:
 * - decimal: `-12.340`, `NaN`, `Infinity`, `-Infinity`; trailing zeros are kept.
 * - timestamptz: `2024-03-31T02:30:00.123456Z` (UTC; ` BC` may follow; `infinity`, `-infinity`).
 * - timetz: `12:34:56.789+05:30`. interval: ISO 8601 (`P1Y2M3DT4H5M6.7S`), may be `infinity`.
 * - json: the text as the source keeps it. array: the source's array literal (`{1,NULL,"a b"}`).
 * - bits: `0101`. enum, uuid, xml, string: the text.
 *
 * Number kinds: date = days since 1970-01-01; time = microseconds since midnight (24:00:00 is
 * 86400000000); timestamp = microseconds since 1970-01-01 without a zone. 2^31-1 / -2^31 (date) and
 * 2^63-1 / -2^63 (timestamp) mean infinity / -infinity. A timestamp past the year 294246 wraps
 * around modulo 2^64, which no real one can be mistaken for: Postgres ends at 4713 BC below.
 */
export type ColumnKind =
  | 'boolean'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'float32'
  | 'float64'
  | 'decimal'
  | 'string'
  | 'bytes'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'timetz'
  | 'interval'
  | 'uuid'
  | 'json'
  | 'xml'
  | 'enum'
  | 'bits'
  | 'array';

export interface ColumnType {
  readonly kind: ColumnKind;
  /** decimal only; absent when the source sets no limit. */
  readonly precision?: number;
  readonly scale?: number;
  /** The source's own name of the type, as its DDL would print it: `numeric(12,2)`, `integer[]`. */
  readonly native?: string;
}

export type AvroPrimitive = 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string';

export interface KindInAvro {
  readonly primitive: AvroPrimitive;
  /** Debezium's or Kafka Connect's semantic name, where one says the same as our kind. */
  readonly connectName?: string;
  readonly connectType?: string;
  readonly logicalType?: string;
}

export const KIND_IN_AVRO: Record<ColumnKind, KindInAvro> = {
  boolean: { primitive: 'boolean' },
  int16: { primitive: 'int', connectType: 'int16' },
  int32: { primitive: 'int' },
  int64: { primitive: 'long' },
  float32: { primitive: 'float' },
  float64: { primitive: 'double' },
  decimal: { primitive: 'string', connectName: 'headrace.data.Decimal' },
  string: { primitive: 'string' },
  bytes: { primitive: 'bytes' },
  date: { primitive: 'int', connectName: 'io.debezium.time.Date', logicalType: 'date' },
  time: {
    primitive: 'long',
    connectName: 'io.debezium.time.MicroTime',
    logicalType: 'time-micros',
  },
  timestamp: {
    primitive: 'long',
    connectName: 'io.debezium.time.MicroTimestamp',
    logicalType: 'local-timestamp-micros',
  },
  timestamptz: { primitive: 'string', connectName: 'io.debezium.time.ZonedTimestamp' },
  timetz: { primitive: 'string', connectName: 'io.debezium.time.ZonedTime' },
  interval: { primitive: 'string', connectName: 'io.debezium.time.Interval' },
  uuid: { primitive: 'string', connectName: 'io.debezium.data.Uuid' },
  json: { primitive: 'string', connectName: 'io.debezium.data.Json' },
  xml: { primitive: 'string', connectName: 'io.debezium.data.Xml' },
  enum: { primitive: 'string', connectName: 'io.debezium.data.Enum' },
  bits: { primitive: 'string', connectName: 'headrace.data.Bits' },
  array: { primitive: 'string', connectName: 'headrace.data.Array' },
};
