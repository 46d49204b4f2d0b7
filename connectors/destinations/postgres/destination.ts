import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { Destination } from '../../spi/destination.ts';
import { checkTarget } from './check.ts';
import { openAppendedTable } from './appended-copy.ts';
import { openDestinationTable } from './compared-copy.ts';
import { parseConfig } from './config.ts';
import { OFFSETS_TABLE, SHAPES_TABLE } from './identifiers.ts';
import { spec } from './spec.ts';
import { streamTables } from './stream-tables.ts';
import { tableOf } from './table-statements.ts';
import { DEFAULT_LIMITS, PostgresWriter } from './writer.ts';

/** Tables in Postgres: one typed table per stream, each batch and its offset in one transaction. */
export const destination: Destination = {
  spec,
  replays: true,
  async check(config) {
    try {
      return await checkTarget(parseConfig(config));
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      return { ok: false, message: `${error.message}. ${error.spec.fix}` };
    }
  },
  validateStream(config, stream) {
    const target = parseConfig(config);
    const label = streamLabel(stream.stream);
    if (stream.mode === 'append_dedup' && stream.primaryKey.length === 0) {
      throw invalid(label, 'append_dedup needs a primary key; choose one, or append');
    }
    if ([OFFSETS_TABLE, SHAPES_TABLE].includes(streamTables(target, stream).final ?? '')) {
      throw invalid(label, 'its table has the name of one of our own');
    }
  },
  places(config, stream) {
    const { schema, final, raw, history } = streamTables(parseConfig(config), stream);
    const own = [final, history].flatMap((table) => (table === null ? [] : [{ schema, table }]));
    return [...own, ...(raw === null ? [] : [raw])].map(tableOf);
  },
  async open(options) {
    return new PostgresWriter(options, parseConfig(options.config), DEFAULT_LIMITS);
  },
  openTable: openDestinationTable,
  openAppended: openAppendedTable,
};

function invalid(stream: string, what: string): PipelineError {
  return new PipelineError('CFG_INVALID_CONNECTOR', `stream ${stream}: ${what}`, {
    details: { stream },
  });
}
