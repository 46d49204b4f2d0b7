import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { hashOfCell, rowOfCells, textOfKey } from '../../compare/cell-text.ts';
import {
  digestQuery,
  keysQuery,
  rangesQuery,
  readDigests,
  readRows,
  recordText,
  type DigestQuery,
  type DigestTable,
} from '../../compare/table-digest.ts';
import type {
  ComparedColumn,
  ComparedTable,
  DestinationTable,
  DestinationView,
  OpenDestinationTable,
} from '../../spi/comparison.ts';
import { parseConfig, type PostgresTarget } from './config.ts';
import { classify } from './errors.ts';
import { exchange, type Rows, type Statement } from './exchange.ts';
import { arrayLiteral, columnName, quoted } from './identifiers.ts';
import { readPartitions, selectPartitions } from './offset-store.ts';
import { beginView, Sessions } from './sessions.ts';
import { streamTables } from './stream-tables.ts';
import { readTable, type CatalogTable } from './table-catalog.ts';
import { tableOf } from './table-statements.ts';

/** The deduped, typed table of a stream, to be compared with its source. */
export const openDestinationTable: OpenDestinationTable = async (options) => {
  const target = parseConfig(options.config);
  const label = streamLabel(options.stream.stream);
  if (target.normalization !== 'typed') return null;
  const { schema, final } = streamTables(target, options.stream);
  const name = { schema, table: final as string };
  const sessions = new Sessions(target, 1);
  try {
    const table = await sessions.use((client) => readTable(client, name.schema, name.table));
    if (table === null) {
      const message = `stream ${label}: there is no table ${tableOf(name)} in the destination`;
      throw new PipelineError('VFY_UNSUPPORTED', message, { details: { stream: label } });
    }
    const { connectionId, topic, compared, epoch } = options;
    const stored = selectPartitions(target.schema, connectionId, topic);
    return new PostgresCopy(target, sessions, stored, (since) =>
      digestTable(tableOf(name), table, compared, { epoch, since }),
    );
  } catch (error) {
    await sessions.close();
    throw classify(error, `stream ${label}`, label);
  }
};

/** A column that the source has and the copy has not yet is NULL in all its rows. */
function digestTable(
  from: string,
  table: CatalogTable,
  compared: ComparedTable,
  view: { readonly epoch: number; readonly since: string },
): DigestTable {
  const types = new Map(table.columns.map(({ name, ddl }) => [name, ddl]));
  const column = (name: string): string =>
    types.has(columnName(name)) ? `t.${quoted(columnName(name))}` : 'NULL';
  const kinds = new Map(compared.columns.map(({ name, kind }) => [name, kind]));
  const moving =
    `coalesce((t._headrace_epoch, t._ab_cdc_lsn) >= ` +
    `(${Number(view.epoch)}, ${BigInt(view.since)}), false)`;
  return {
    from: `${from} AS t`,
    where: 't._ab_cdc_deleted_at IS NULL',
    row: rowText(compared.columns, column),
    key: compared.key.map(({ name, order }) => ({
      column: column(name),
      text: textOfKey(column(name), kinds.get(name) ?? 'string'),
      type: (types.get(columnName(name)) ?? 'text').replace(/\([-0-9, ]+\)/, ''),
      order,
    })),
    version: `concat(t._headrace_epoch, '/', t._ab_cdc_lsn, '/', t._headrace_seq)`,
    moving,
    movingInDigest: moving,
  };
}

function rowText(columns: readonly ComparedColumn[], column: (name: string) => string): string {
  const hashes = columns.flatMap(({ name, kind }) =>
    kind === null ? [] : [hashOfCell(column(name), kind)],
  );
  if (hashes.length > 0) return rowOfCells(hashes);
  return recordText(columns.map(({ name }) => column(name)));
}

class PostgresCopy implements DestinationTable {
  private readonly target: PostgresTarget;
  private readonly sessions: Sessions;
  private readonly stored: Statement;
  private readonly digestOf: (since: string) => DigestTable;

  constructor(
    target: PostgresTarget,
    sessions: Sessions,
    stored: Statement,
    digestOf: (since: string) => DigestTable,
  ) {
    this.target = target;
    this.sessions = sessions;
    this.stored = stored;
    this.digestOf = digestOf;
  }

  async look<T>(since: string, work: (view: DestinationView) => Promise<T>): Promise<T> {
    try {
      return await this.sessions.use(async (client) => {
        const answers = await exchange(client, [...beginView(), this.stored]);
        const offsets = readPartitions(answers.at(-1)?.rows ?? []);
        const result = await work(this.view(client, this.digestOf(since), offsets));
        await exchange(client, [{ text: 'ROLLBACK' }]);
        return result;
      });
    } catch (error) {
      throw classify(error, `comparing a table of ${this.target.address}`);
    }
  }

  private view(
    client: Client,
    table: DigestTable,
    offsets: readonly { readonly partition: number; readonly nextOffset: number | null }[],
  ): DestinationView {
    const ask = async ({ text, values }: DigestQuery): Promise<Rows> => {
      const [answer] = await exchange(client, [{ text, values: values.map(arrayLiteral) }], 0);
      return answer?.rows ?? [];
    };
    return {
      offsets: new Map(offsets.map(({ partition, nextOffset }) => [partition, nextOffset ?? 0])),
      digests: async (cuts) => readDigests(await ask(digestQuery(table, cuts))),
      rowsOfRanges: async (cuts, ranges) => readRows(await ask(rangesQuery(table, cuts, ranges))),
      rowsOfKeys: async (keys) => readRows(await ask(keysQuery(table, keys))),
    };
  }

  close(): Promise<void> {
    return this.sessions.close();
  }
}
