import type { StreamId } from '../catalog/stream-id.ts';
import type { ColumnType } from '../values/column-type.ts';

/** One column of a stream at one moment of its history. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** Part of the key, in the order of StreamSchema.key. Key columns are never null. */
  readonly inKey: boolean;
  /** Set on a column that was added later and is not null in the rows before it, of which no event
   * tells: what events without the column have in it. */
  readonly initial?: InitialValue;
}

export interface InitialValue {
  /** As the source prints it; for the kinds that are text in Avro, that text. */
  readonly text: string;
  /** The cell's Avro bytes, in base64. */
  readonly avro: string;
}

/** The shape of a stream's rows; a change of shape is a new StreamSchema and a new Avro schema. */
export interface StreamSchema {
  readonly stream: StreamId;
  readonly columns: readonly Column[];
  /** Names of the key's columns, in key order; empty for a stream without a key. */
  readonly key: readonly string[];
}
