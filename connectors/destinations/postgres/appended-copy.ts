import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { eventIdentity, type AppendedRow, type OpenAppendedCopy } from '../../spi/comparison.ts';
import { parseConfig } from './config.ts';
import { classify } from './errors.ts';
import { EventIds, partsOfEventId } from './event-metadata.ts';
import { exchange } from './exchange.ts';
import { readPartitions, selectPartitions } from './offset-store.ts';
import { beginView, Sessions } from './sessions.ts';
import { streamTables } from './stream-tables.ts';
import { tableOf } from './table-statements.ts';

const ROWS_PER_FETCH = 20_000;

/** A typed table with a row per event, to be compared with the topic. */
export const openAppendedTable: OpenAppendedCopy = async (options) => {
  const target = parseConfig(options.config);
  const label = streamLabel(options.stream.stream);
  if (target.normalization !== 'typed') {
    const message = `stream ${label}: raw and normalized tables are not compared`;
    throw new PipelineError('VFY_UNSUPPORTED', message, { details: { stream: label } });
  }
  const { schema, final } = streamTables(target, options.stream);
  const table = tableOf({ schema, table: final as string });
  const { topic, partitions, connectionId } = options;
  const byPrefix = new Map(partitions.map((p) => [new EventIds(topic, p).prefix, p]));
  const sessions = new Sessions(target, 1);
  const stored = selectPartitions(target.schema, connectionId, topic);
  return {
    async look(work) {
      try {
        return await sessions.use(async (client) => {
          const answers = await exchange(client, [...beginView(), stored]);
          const found = readPartitions(answers.at(-1)?.rows ?? []);
          const ends = new Map(found.map((each) => [each.partition, each.nextOffset ?? 0]));
          const result = await work({ ends, rows: () => rowsOf(client, table, byPrefix) });
          await exchange(client, [{ text: 'ROLLBACK' }]);
          return result;
        });
      } catch (error) {
        throw classify(error, `stream ${label}, table ${table}`, label);
      }
    },
    close: () => sessions.close(),
  };
};

async function* rowsOf(
  client: Client,
  table: string,
  byPrefix: ReadonlyMap<string, number>,
): AsyncGenerator<AppendedRow[]> {
  const columns =
    '_airbyte_ab_id,_headrace_epoch,_ab_cdc_lsn,_headrace_seq,_ab_cdc_deleted_at IS NOT NULL';
  const declare = `DECLARE compared NO SCROLL CURSOR FOR SELECT ${columns} FROM ${table}`;
  await exchange(client, [{ text: declare }], 0);
  for (;;) {
    const [answer] = await exchange(client, [{ text: `FETCH ${ROWS_PER_FETCH} compared` }], 0);
    const rows = answer?.rows ?? [];
    if (rows.length === 0) break;
    yield rows.map(([id, epoch, lsn, seq, deleted]) => {
      const { prefix, offset } = partsOfEventId(id ?? '0');
      const identity = eventIdentity(epoch, lsn, seq, deleted === 't');
      return { partition: byPrefix.get(prefix) ?? -1, offset, identity };
    });
  }
  await exchange(client, [{ text: 'CLOSE compared' }]);
}
