import { fittingName, standardName } from '../../../schemas/normalize/names.ts';
import type { DestinationStream } from '../../spi/destination.ts';
import type { PostgresTarget } from './config.ts';

/** Where a stream lands: schema, and the tables that are made before any document is seen. */
export interface StreamTables {
  readonly schema: string;
  /** The typed or flat table; null where there are raw documents only. */
  readonly final: string | null;
  /** The table of raw documents; null where there is none. */
  readonly raw: string | null;
}

export function streamTables(target: PostgresTarget, stream: DestinationStream): StreamTables {
  const schema = fittingName(stream.namespace ?? target.schema);
  const { normalization } = target;
  if (normalization === 'typed') return { schema, final: fittingName(stream.name), raw: null };
  const name = standardName(stream.name);
  const raw = fittingName(`_airbyte_raw_${name}`);
  return { schema, final: normalization === 'basic' ? name : null, raw };
}
