import { fittingName, standardName } from '../../../schemas/normalize/names.ts';
import { streamTableName } from '../../../schemas/normalize/shape.ts';
import type { DestinationStream } from '../../spi/destination.ts';
import type { PostgresTarget } from './config.ts';

export interface QualifiedTable {
  readonly schema: string;
  readonly table: string;
}

/** Where a stream lands: schema, and the tables that are made before any document is seen. */
export interface StreamTables {
  readonly schema: string;
  /** The typed or flat table; null where there are raw documents only. */
  readonly final: string | null;
  /** The table of raw documents; null where there is none. */
  readonly raw: QualifiedTable | null;
  /** The table of the versions of rows, in `schema`; null where none are kept. */
  readonly history: string | null;
}

export function streamTables(target: PostgresTarget, stream: DestinationStream): StreamTables {
  const schema = fittingName(stream.namespace ?? target.schema);
  const { normalization } = target;
  const none = { raw: null, history: null };
  if (normalization === 'typed') return { schema, final: fittingName(stream.name), ...none };
  const name = standardName(stream.name);
  if (normalization === 'raw') {
    return { ...none, schema, final: null, raw: { schema, table: rawName(name) } };
  }
  const final = streamTableName(stream.name, normalization);
  if (normalization === 'v2') {
    const raw = { schema: target.rawSchema, table: v2RawName(schema, stream.name) };
    return { schema, final, raw, history: null };
  }
  const keepsHistory = target.keepsHistory && stream.mode === 'append_dedup';
  const history = keepsHistory ? `${name}_scd` : null;
  return { schema, final, raw: { schema, table: rawName(name) }, history };
}

function rawName(name: string): string {
  return fittingName(`_airbyte_raw_${name}`);
}

/** The underscores in the middle outnumber any in the names, so that the name can be split again. */
function v2RawName(namespace: string, name: string): string {
  const runs = (namespace + name).match(/_+/g) ?? [];
  const longest = Math.max(1, ...runs.map((run) => run.length));
  return fittingName(`${namespace}_raw${'_'.repeat(longest + 1)}stream_${name}`);
}
