import { createHash } from 'node:crypto';
import type { Client } from 'pg';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { OP_DELETE } from '../../../schemas/envelope/change-decoder.ts';
import { jsonbText, parseJson } from '../../../schemas/normalize/json-value.ts';
import {
  eventIdentity,
  type AppendedCopy,
  type AppendedRow,
  type KeptEvents,
  type OpenAppendedCopy,
} from '../../spi/comparison.ts';
import type { DestinationMode } from '../../spi/destination.ts';
import { parseConfig } from './config.ts';
import { classify } from './errors.ts';
import { eventJson } from './event-json.ts';
import { EventIds, partsOfEventId } from './event-metadata.ts';
import { exchange } from './exchange.ts';
import { readPartitions, selectPartitions } from './offset-store.ts';
import { imageOf } from './raw-rows.ts';
import { countRepeatedKeys } from './repeated-keys.ts';
import { beginView, Sessions } from './sessions.ts';
import { streamTables, type QualifiedTable } from './stream-tables.ts';
import { V2_NAMES } from './table-layout.ts';
import { tableOf } from './table-statements.ts';

const ROWS_PER_FETCH = 20_000;

const KEPT: Record<DestinationMode, KeptEvents> = {
  append: 'every',
  append_dedup: 'newest',
  overwrite: 'generation',
};

/** A stream's table, to be compared with the topic: rows by the events that they are of, or raw
 * documents by what is in them. */
export const openAppendedTable: OpenAppendedCopy = async (options) => {
  const target = parseConfig(options.config);
  const { topic, partitions, connectionId, stream } = options;
  const label = streamLabel(stream.stream);
  const { schema, final, raw } = streamTables(target, stream);
  const isRaw = final === null;
  const table = tableOf(isRaw ? (raw as QualifiedTable) : { schema, table: final });
  const id = target.normalization === 'v2' ? V2_NAMES.id : '_airbyte_ab_id';
  const select = `SELECT ${id},${isRaw ? DOCUMENT : IDENTITY} FROM ${table}`;
  const byPrefix = new Map(partitions.map((p) => [new EventIds(topic, p).prefix, p]));
  const isKeyed = stream.mode === 'append' && stream.primaryKey.length > 0;
  const keyed = { target, stream, connectionId, topic, table, isRaw };
  const sessions = new Sessions(target, 1);
  const stored = selectPartitions(target.schema, connectionId, topic);
  return {
    // Raw documents are a history in every mode but one.
    keeps: isRaw && stream.mode !== 'overwrite' ? 'every' : KEPT[stream.mode],
    ...(isRaw ? { identityOf: documentHash } : {}),
    async look(work) {
      try {
        return await sessions.use(async (client) => {
          const answers = await exchange(client, [...beginView(), stored]);
          const found = readPartitions(answers.at(-1)?.rows ?? []);
          const ends = new Map(found.map((each) => [each.partition, each.nextOffset ?? 0]));
          const view = { ends, rows: () => rowsOf(client, select, byPrefix) };
          const repeatedKeys = () => countRepeatedKeys(client, keyed);
          const result = await work(isKeyed ? { ...view, repeatedKeys } : view);
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

const IDENTITY = '_headrace_epoch,_ab_cdc_lsn,_headrace_seq,_ab_cdc_deleted_at IS NOT NULL';
const DOCUMENT = `encode(sha256(convert_to(_airbyte_data::text,'UTF8')),'hex')`;

const documentHash: NonNullable<AppendedCopy['identityOf']> = (schema, bytes, change) => {
  const json = eventJson(imageOf(schema, bytes, change), change, change.op === OP_DELETE);
  return createHash('sha256')
    .update(jsonbText(parseJson(json)))
    .digest('hex');
};

async function* rowsOf(
  client: Client,
  select: string,
  byPrefix: ReadonlyMap<string, number>,
): AsyncGenerator<AppendedRow[]> {
  const declare = `DECLARE compared NO SCROLL CURSOR FOR ${select}`;
  await exchange(client, [{ text: declare }], 0);
  for (;;) {
    const [answer] = await exchange(client, [{ text: `FETCH ${ROWS_PER_FETCH} compared` }], 0);
    const rows = answer?.rows ?? [];
    if (rows.length === 0) break;
    yield rows.map(([id, ...cells]) => {
      const { prefix, offset } = partsOfEventId(id ?? '0');
      return { partition: byPrefix.get(prefix) ?? -1, offset, identity: identityOf(cells) };
    });
  }
  await exchange(client, [{ text: 'CLOSE compared' }]);
}

/** A document's hash, or the four cells of a place in the log. */
function identityOf(cells: readonly (string | null)[]): string {
  if (cells.length === 1) return String(cells[0]);
  const [epoch, lsn, seq, deleted] = cells;
  return eventIdentity(epoch, lsn, seq, deleted === 't');
}
