import { createHash } from 'node:crypto';
import type { Connection } from 'mysql2';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel, type StreamId } from '../../../schemas/catalog/stream-id.ts';
import { CELL_HASH_DIGITS } from '../../compare/cell-text.ts';
import { jsonbText, parseJson } from '../../../schemas/normalize/json-value.ts';
import { KeyRanges } from '../../compare/key-order.ts';
import type {
  ComparedTable,
  KeyText,
  OpenSourceTable,
  RangeDigest,
  RowDigest,
  SourceTable,
  SourceView,
} from '../../spi/comparison.ts';
import { streamGone, tablesNamed, type ColumnFacts, type TableFacts } from './catalog.ts';
import { hashOfOwnCell, kindOf, literalOf, textOfCell } from './compared-cells.ts';
import { parseConfig, type MysqlSourceConfig } from './config.ts';
import { consistentView } from './consistent-view.ts';
import { classify } from './errors.ts';
import { placeText } from './position.ts';
import { GtidSet } from './gtid-set.ts';
import { logStatus, readServer, type ServerFacts } from './server.ts';
import { connect, query, quoteIdentifier, SideSession } from './session.ts';
import { TouchedRows } from './touched-rows.ts';

/** Kinds that both servers order alike and whose indexes serve ranges. */
const NATIVE_ORDER = new Set([
  'int16',
  'int32',
  'int64',
  'date',
  'timestamp',
  'timestamptz',
  'uuid',
]);
/** Kinds of which two servers need not print the same for the same key. */
const NO_KEY = new Set(['float32', 'float64', 'interval', 'json']);

export const openSourceTable: OpenSourceTable = async ({ config: raw, stream, primaryKey }) => {
  const config = parseConfig(raw);
  const side = new SideSession(config);
  try {
    const label = streamLabel(stream);
    const table = (await tablesNamed(side, [stream])).get(label);
    if (table === undefined) throw streamGone(label);
    const rows = new RowsOf(table, keyColumns(table, primaryKey));
    const server = await readServer(side);
    return new MysqlSourceTable(config, server, rows, await connect(config));
  } finally {
    await side.close();
  }
};

function keyColumns(table: TableFacts, primaryKey: readonly string[]): ColumnFacts[] {
  return primaryKey.map((name) => {
    const column = table.columns.find((each) => each.name === name);
    if (column !== undefined && !NO_KEY.has(kindOf(column))) return column;
    const label = streamLabel(table.stream);
    const why =
      column === undefined
        ? `its key column ${name} is not in the table any more`
        : `its key column ${name} has the type ${column.dataType}, which servers print in their own ways`;
    throw new PipelineError('VFY_UNSUPPORTED', `stream ${label}: ${why}`, {
      details: { stream: label, column: name },
    });
  });
}

class MysqlSourceTable implements SourceTable {
  readonly compared: ComparedTable;
  private readonly config: MysqlSourceConfig;
  private readonly server: ServerFacts;
  private readonly rows: RowsOf;
  private readonly now: Connection;

  constructor(config: MysqlSourceConfig, server: ServerFacts, rows: RowsOf, now: Connection) {
    this.config = config;
    this.server = server;
    this.rows = rows;
    this.now = now;
    this.compared = rows.compared;
  }

  /** What the log holds before the view's place is shown. What came right after it may be shown too,
   * and is moving: the log need not tell how those rows were. */
  async look<T>(work: (view: SourceView) => Promise<T>): Promise<T> {
    const { rows, server } = this;
    const at = await consistentView({
      config: { ...this.config, concurrency: 1 },
      mariadb: server.mariadb,
      gtids: server.variables['gtid_mode'] === 'ON',
      streams: [rows.stream],
      begins: false,
      readWindow: () =>
        Promise.resolve({
          rows: new TouchedRows(),
          gtids: new GtidSet(false, ''),
          prepared: new Map(),
        }),
      say: () => undefined,
      cancelled: () => false,
    });
    const { place } = at;
    const [connection] = at.connections;
    try {
      return await work({
        since: place.toString(),
        position: async () => placeText((await logStatus((sql) => query(this.now, sql))).place),
        count: () => rows.count(connection),
        cuts: (size) => rows.cuts(connection, size),
        digests: (cuts) => rows.digests(connection, cuts),
        rowsOfRanges: (cuts, ranges) => rows.ofRanges(connection, cuts, ranges),
        rowsOfKeys: (keys) => rows.ofKeys(connection, keys),
      });
    } finally {
      connection.destroy();
    }
  }

  rowsOfKeys(keys: readonly KeyText[]): Promise<RowDigest[]> {
    return this.rows.ofKeys(this.now, keys);
  }

  close(): Promise<void> {
    this.now.destroy();
    return Promise.resolve();
  }
}

type Cells = readonly (string | null)[];

/** Questions about one table's rows, asked in any session. */
class RowsOf {
  readonly stream: StreamId;
  readonly compared: ComparedTable;
  private readonly from: string;
  private readonly key: readonly ColumnFacts[];
  private readonly keyTexts: string;
  /** What a row's hash is made of: hashes of cells one behind the other, and documents as they are. */
  private readonly parts: readonly { readonly sql: string; readonly isJson: boolean }[];

  constructor(table: TableFacts, key: readonly ColumnFacts[]) {
    const { namespace, name } = table.stream;
    this.stream = table.stream;
    this.from = `${quoteIdentifier(namespace)}.${quoteIdentifier(name)}`;
    this.key = key;
    this.keyTexts = key.map(textOfCell).join(', ');
    this.parts = partsOf(table.columns);
    this.compared = {
      columns: table.columns.map((column) => ({ name: column.name, kind: kindOf(column) })),
      key: key.map((column) => ({ name: column.name, order: orderOf(column) })),
    };
  }

  async count(connection: Connection): Promise<number> {
    let count = 0;
    await scan(connection, `SELECT COUNT(*) FROM ${this.from}`, ([n]) => (count = Number(n)));
    return count;
  }

  async cuts(connection: Connection, rows: number): Promise<KeyText[]> {
    const order = this.key.map((column) =>
      orderOf(column) === 'native'
        ? quoteIdentifier(column.name)
        : `CAST(${textOfCell(column)} AS BINARY)`,
    );
    const cuts: KeyText[] = [];
    let n = 0;
    const sql = `SELECT ${this.keyTexts} FROM ${this.from} ORDER BY ${order.join(', ')}`;
    await scan(connection, sql, (cells) => {
      if (++n % rows === 0) cuts.push(cells as KeyText);
    });
    // The server orders long texts by their beginnings.
    return this.ranges([]).sorted(cuts);
  }

  async digests(connection: Connection, cuts: readonly KeyText[]): Promise<RangeDigest[]> {
    const found = new Map<number, { rows: number; hash: bigint }>();
    const ranges = this.ranges(cuts);
    await this.each(connection, '', ({ key, hash }) => {
      const range = ranges.rangeOf(key);
      const digest = found.get(range) ?? { rows: 0, hash: 0n };
      digest.rows++;
      digest.hash += hash;
      found.set(range, digest);
    });
    return [...found].map(([range, { rows, hash }]) => ({ range, rows, hash, moving: [] }));
  }

  async ofRanges(
    connection: Connection,
    cuts: readonly KeyText[],
    wanted: readonly number[],
  ): Promise<RowDigest[]> {
    const ranges = this.ranges(cuts);
    const among = new Set(wanted);
    const rows: RowDigest[] = [];
    await this.each(connection, this.around(cuts, wanted), (row) => {
      if (among.has(ranges.rangeOf(row.key))) rows.push(row);
    });
    return rows;
  }

  /** A superset of the ranges' rows, by the first column of the key. */
  private around(cuts: readonly KeyText[], wanted: readonly number[]): string {
    const [first] = this.key as readonly [ColumnFacts];
    if (orderOf(first) !== 'native') return '';
    const name = quoteIdentifier(first.name);
    const bound = (sign: string, cut: KeyText | undefined): string =>
      cut === undefined ? 'TRUE' : `${name} ${sign} ${literalOf(first, cut[0] as string)}`;
    const conditions = wanted.map(
      (range) => `(${bound('>=', cuts[range - 1])} AND ${bound('<=', cuts[range])})`,
    );
    return ` WHERE ${conditions.join(' OR ')}`;
  }

  /** A server that takes two texts for one key has the one that it has: the other is not there. */
  async ofKeys(connection: Connection, keys: readonly KeyText[]): Promise<RowDigest[]> {
    if (keys.length === 0) return [];
    const names = this.key.map(({ name }) => quoteIdentifier(name)).join(', ');
    const literals = keys.map(
      (key) => `(${key.map((text, i) => literalOf(this.key[i] as ColumnFacts, text)).join(', ')})`,
    );
    const wanted = new Set(keys.map((key) => JSON.stringify(key)));
    const rows: RowDigest[] = [];
    await this.each(connection, ` WHERE (${names}) IN (${literals.join(', ')})`, (row) => {
      if (wanted.has(JSON.stringify(row.key))) rows.push(row);
    });
    return rows;
  }

  private ranges(cuts: readonly KeyText[]): KeyRanges {
    return new KeyRanges(this.key.map(kindOf), cuts);
  }

  private each(
    connection: Connection,
    where: string,
    take: (row: RowDigest) => void,
  ): Promise<void> {
    const { key, parts, from } = this;
    const cells = parts.map(({ sql }) => sql).join(', ');
    return scan(connection, `SELECT ${this.keyTexts}, ${cells} FROM ${from}${where}`, (row) => {
      const text = parts.map(({ isJson }, i) => {
        const cell = row[key.length + i] as string | null;
        return isJson ? hashOfJson(cell) : cell;
      });
      const version = createHash('md5').update(text.join('')).digest('hex');
      const hash = BigInt(`0x${version.slice(0, 15)}`);
      // Nothing that the view shows is under way, and nobody can tell one version from a like one.
      take({ key: row.slice(0, key.length) as KeyText, hash, version, moving: false });
    });
  }
}

function orderOf(column: ColumnFacts): 'native' | 'text' {
  return NATIVE_ORDER.has(kindOf(column)) ? 'native' : 'text';
}

function partsOf(columns: readonly ColumnFacts[]): { sql: string; isJson: boolean }[] {
  const parts: { sql: string; isJson: boolean }[] = [];
  let hashes: string[] = [];
  const endHashes = (): void => {
    if (hashes.length > 0) parts.push({ sql: `CONCAT(${hashes.join(', ')})`, isJson: false });
    hashes = [];
  };
  for (const column of columns) {
    if (kindOf(column) !== 'json') {
      hashes.push(`IFNULL(${hashOfOwnCell(column)}, '~')`);
      continue;
    }
    endHashes();
    parts.push({ sql: `CAST(${quoteIdentifier(column.name)} AS CHAR)`, isJson: true });
  }
  endHashes();
  return parts;
}

function hashOfJson(document: string | null): string {
  if (document === null) return '~';
  const hash = createHash('sha256')
    .update(jsonbText(parseJson(document)))
    .digest('hex');
  return hash.slice(0, CELL_HASH_DIGITS);
}

/** Hands over row by row; nothing is gathered. */
function scan(connection: Connection, sql: string, take: (row: Cells) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(classify(error, 'comparing a table'));
    connection
      .query({ sql, rowsAsArray: true })
      .on('result', (row) => {
        try {
          take(row as unknown as Cells);
        } catch (error) {
          // The rest of the result has nobody to go to.
          connection.destroy();
          fail(error);
        }
      })
      .on('error', fail)
      .on('end', () => resolve());
  });
}
