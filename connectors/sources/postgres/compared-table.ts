import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import {
  countQuery,
  cutsQuery,
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
  ComparedTable,
  KeyText,
  OpenSourceTable,
  RowDigest,
  SourceTable,
  SourceView,
} from '../../spi/comparison.ts';
import { streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import { parseConfig } from './config.ts';
import { currentPosition } from './current-position.ts';
import { classify } from './errors.ts';
import { lsnOfServer } from './position.ts';
import { connect, quoteIdentifier, SideSession } from './session.ts';

/** Types that every server orders alike, by OID: an index of both sides serves ranges of them. */
const NATIVE_ORDER = new Set([17, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 1700, 2950]);

/** A transaction that the view does not show may hold the row already: its commit can be on its way to
 * the destination. */
const UNDER_WAY =
  `t.xmax::text = ANY(ARRAY(SELECT (x::text::numeric % 4294967296)::text ` +
  `FROM pg_snapshot_xip(pg_current_snapshot()) AS x))`;

/** Sorts of a digest stay in memory up to this; it is given back when the view ends. */
const BEGIN = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL work_mem = '64MB'`;

export const openSourceTable: OpenSourceTable = async ({ config: raw, stream, primaryKey }) => {
  const config = parseConfig(raw);
  const label = streamLabel(stream);
  const side = new SideSession(config, 'verify position');
  let client: pg.Client | null = null;
  try {
    const table = (await tablesNamed(side, [stream])).get(label);
    if (table === undefined) throw streamGone(label);
    const digest = await digestTable(side, table, primaryKey);
    client = await connect(config, { purpose: 'verify' });
    return new PostgresSourceTable(side, client, digest, comparedOf(table, digest));
  } catch (error) {
    await side.close();
    await client?.end().catch(() => {});
    throw error;
  }
};

function comparedOf(table: TableFacts, digest: DigestTable & KeyNames): ComparedTable {
  return {
    columns: table.columns.map(({ name }) => ({ name, kind: null })),
    key: digest.key.map(({ order }, i) => ({ name: digest.keyNames[i] as string, order })),
  };
}

interface KeyNames {
  readonly keyNames: readonly string[];
}

async function digestTable(
  side: SideSession,
  table: TableFacts,
  primaryKey: readonly string[],
): Promise<DigestTable & KeyNames> {
  const { namespace, name } = table.stream;
  const keys = primaryKey.map((key) => {
    const column = table.columns.find((each) => each.name === key);
    if (column !== undefined) return column;
    const message = `stream ${streamLabel(table.stream)}: its key column ${key} is not in the table any more`;
    throw new PipelineError('VFY_UNSUPPORTED', message, {
      details: { stream: streamLabel(table.stream), column: key },
    });
  });
  const types = await side.query(
    `SELECT format_type(t, NULL) AS type FROM unnest($1::oid[]) WITH ORDINALITY AS u(t, i) ORDER BY i`,
    [keys.map(({ type }) => type)],
  );
  const column = (each: string): string => `t.${quoteIdentifier(each)}`;
  const only = table.partitioned ? '' : 'ONLY ';
  return {
    from: `${only}${quoteIdentifier(namespace)}.${quoteIdentifier(name)} AS t`,
    where: 'true',
    row: recordText(table.columns.map((each) => column(each.name))),
    key: keys.map((key, i) => ({
      column: column(key.name),
      text: `${column(key.name)}::text`,
      type: String(types[i]?.['type']),
      order: NATIVE_ORDER.has(key.type) ? 'native' : 'text',
    })),
    keyNames: primaryKey,
    version: `concat(t.tableoid, '/', t.ctid, '/', t.xmin)`,
    moving: UNDER_WAY,
    movingInDigest: 'false',
  };
}

class PostgresSourceTable implements SourceTable {
  readonly compared: ComparedTable;
  private readonly side: SideSession;
  private readonly client: pg.Client;
  private readonly table: DigestTable;

  constructor(side: SideSession, client: pg.Client, table: DigestTable, compared: ComparedTable) {
    this.side = side;
    this.client = client;
    this.table = table;
    this.compared = compared;
  }

  /** The log's end is read before the snapshot is taken: what the snapshot does not show is behind it. */
  async look<T>(work: (view: SourceView) => Promise<T>): Promise<T> {
    const [row] = await this.side.query(
      `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
         ELSE pg_current_wal_insert_lsn() END AS lsn`,
    );
    await this.rows(BEGIN);
    try {
      // A transaction takes its snapshot with its first query.
      await this.rows('SELECT 1');
      return await work(this.view(lsnOfServer(String(row?.['lsn'])).toString()));
    } finally {
      await this.client.query('ROLLBACK').catch(() => undefined);
    }
  }

  private view(since: string): SourceView {
    const { table } = this;
    return {
      since,
      position: () => currentPosition(this.side),
      count: async () => Number((await this.ask(countQuery(table)))[0]?.[0]),
      cuts: async (rows) =>
        (await this.ask(cutsQuery(table, rows))).map(([key]) => JSON.parse(key ?? '') as KeyText),
      digests: async (cuts) => readDigests(await this.ask(digestQuery(table, cuts))),
      rowsOfRanges: async (cuts, ranges) =>
        readRows(await this.ask(rangesQuery(table, cuts, ranges))),
      rowsOfKeys: async (keys) => readRows(await this.ask(keysQuery(table, keys))),
    };
  }

  async rowsOfKeys(keys: readonly KeyText[]): Promise<RowDigest[]> {
    return readRows(await this.ask(keysQuery(this.table, keys)));
  }

  private ask({ text, values }: DigestQuery): Promise<(string | null)[][]> {
    return this.rows(text, values);
  }

  private async rows(
    text: string,
    values: DigestQuery['values'] = [],
  ): Promise<(string | null)[][]> {
    const types = { getTypeParser: () => (value: string) => value } as never;
    try {
      const result =
        values.length === 0
          ? await this.client.query({ text, types, rowMode: 'array' })
          : await this.client.query({ text, values: [...values], types, rowMode: 'array' });
      return result.rows as (string | null)[][];
    } catch (error) {
      throw classify(error, 'comparing a table');
    }
  }

  async close(): Promise<void> {
    await this.side.close();
    await this.client.end().catch(() => {});
  }
}
