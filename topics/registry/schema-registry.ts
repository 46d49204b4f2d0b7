import type { AvroRecord } from '../../schemas/envelope/avro-schema.ts';

/** One version of a subject. */
export interface RegisteredSchema {
  /** Counts from 1 within the subject. */
  readonly version: number;
  /** The number in a record's header; fits 31 bits, is never used again. */
  readonly id: number;
  /** The Avro schema as JSON text. */
  readonly schema: string;
}

/** Where the schemas of records are kept: our own log in Kafka, or a Confluent-compatible server. */
export interface SchemaRegistry {
  /** The schema's id under the subject. Rejects with SCH_INCOMPATIBLE when it cannot read what the
   * subject's newest schema has written. */
  register(subject: string, schema: AvroRecord): Promise<number>;
  /** Rejects with SCH_UNKNOWN_ID. */
  schemaOf(id: number): Promise<string>;
  /** Null for a subject without schemas. */
  latest(subject: string): Promise<RegisteredSchema | null>;
  close(): Promise<void>;
}
