import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel, type StreamId } from '../../../schemas/catalog/stream-id.ts';
import { quoteLiteral, type Row, type SideSession } from './session.ts';

export interface ColumnFacts {
  readonly name: string;
  /** `varchar`, `bigint`, `uuid`, ... in lower case. */
  readonly dataType: string;
  readonly unsigned: boolean;
  readonly precision: number;
  readonly scale: number;
  readonly fsp: number;
  readonly length: number;
  /** Null for binary strings and everything that is no text. */
  readonly charset: string | null;
  readonly collation: string | null;
  readonly nullable: boolean;
  /** Of an ENUM or SET; none for any other. */
  readonly members: readonly string[];
}

/** How the primary key's index holds a column. */
export interface KeyPartFacts {
  readonly descending: boolean;
  /** Only the first characters, or in no order at all. */
  readonly partial: boolean;
}

/** What the server's catalog says of one table. */
export interface TableFacts {
  readonly stream: StreamId;
  readonly engine: string;
  readonly columns: readonly ColumnFacts[];
  readonly key: readonly string[];
  /** One for each column of `key`. */
  readonly keyParts: readonly KeyPartFacts[];
  readonly rowsEstimate: number | null;
}

/** Engines whose tables a consistent snapshot shows as of its start. */
const TRANSACTIONAL = new Set(['innodb', 'rocksdb', 'tokudb']);

export function isTransactional(table: TableFacts): boolean {
  return TRANSACTIONAL.has(table.engine.toLowerCase());
}

function columnOf(row: Row): ColumnFacts {
  const dataType = String(row['data_type']).toLowerCase();
  const columnType = String(row['column_type']).toLowerCase();
  return {
    name: String(row['column_name']),
    dataType,
    unsigned: /\bunsigned\b|\bzerofill\b/.test(columnType),
    precision: Number(row['num_precision'] ?? 0),
    scale: Number(row['num_scale'] ?? 0),
    fsp: Number(row['fsp'] ?? 0),
    length: Number(row['bytes'] ?? 0),
    charset: row['charset'] ?? null,
    collation: row['collation'] ?? null,
    nullable: row['nullable'] === 'YES',
    members: /^(enum|set)$/.test(dataType) ? membersOf(String(row['column_type'])) : [],
  };
}

const ESCAPES: Readonly<Record<string, string>> = { '\\0': '\0', '\\n': '\n', '\\r': '\r' };

/** As the catalog prints them: `enum('a','b,c','d''e')`. */
function membersOf(columnType: string): string[] {
  return [...columnType.matchAll(/'((?:[^'\\]|''|\\[\s\S])*)'/g)].map(([, text = '']) =>
    text.replaceAll(/''|\\[\s\S]/g, (pair) => ESCAPES[pair] ?? (pair[1] as string)),
  );
}

type Asked = Pick<SideSession, 'query'>;

const IN_LIST = (names: readonly string[]): string => names.map(quoteLiteral).join(', ');

async function read(sql: Asked, database: string, only: string): Promise<TableFacts[]> {
  const where = `TABLE_SCHEMA = ${quoteLiteral(database)}${only}`;
  const tables = await sql.query(
    `SELECT TABLE_NAME AS table_name, ENGINE AS engine, TABLE_ROWS AS num_rows
     FROM information_schema.TABLES
     WHERE TABLE_TYPE = 'BASE TABLE' AND ${where} ORDER BY TABLE_NAME`,
  );
  const columns = await sql.query(
    `SELECT TABLE_NAME AS table_name, COLUMN_NAME AS column_name, DATA_TYPE AS data_type,
       COLUMN_TYPE AS column_type, NUMERIC_PRECISION AS num_precision, NUMERIC_SCALE AS num_scale,
       DATETIME_PRECISION AS fsp, CHARACTER_OCTET_LENGTH AS bytes, CHARACTER_SET_NAME AS charset,
       COLLATION_NAME AS collation, IS_NULLABLE AS nullable
     FROM information_schema.COLUMNS WHERE ${where} ORDER BY TABLE_NAME, ORDINAL_POSITION`,
  );
  const keys = await sql.query(
    `SELECT TABLE_NAME AS table_name, COLUMN_NAME AS column_name, SUB_PART AS characters,
       COLLATION AS direction FROM information_schema.STATISTICS
     WHERE ${where} AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX`,
  );
  const of = (rows: readonly Row[], name: unknown): Row[] =>
    rows.filter((row) => row['table_name'] === name);
  return tables.map((table) => {
    const key = of(keys, table['table_name']);
    return {
      stream: { namespace: database, name: String(table['table_name']) },
      engine: String(table['engine'] ?? ''),
      columns: of(columns, table['table_name']).map(columnOf),
      key: key.map((row) => String(row['column_name'])),
      keyParts: key.map(({ characters, direction }) => ({
        descending: direction === 'D',
        partial: characters != null || direction == null,
      })),
      rowsEstimate: table['num_rows'] == null ? null : Number(table['num_rows']),
    };
  });
}

export function tablesOfDatabase(sql: SideSession, database: string): Promise<TableFacts[]> {
  return read(sql, database, '');
}

export async function tablesNamed(
  sql: Asked,
  streams: readonly StreamId[],
): Promise<Map<string, TableFacts>> {
  const found = new Map<string, TableFacts>();
  for (const database of new Set(streams.map((stream) => stream.namespace))) {
    const names = streams.filter((each) => each.namespace === database).map((each) => each.name);
    for (const table of await read(sql, database, ` AND TABLE_NAME IN (${IN_LIST(names)})`)) {
      found.set(streamLabel(table.stream), table);
    }
  }
  return found;
}

/** Tables whose rows a foreign key changes when those it refers to are changed. */
export async function cascadedTables(sql: SideSession, database: string): Promise<string[]> {
  const rows = await sql.query(
    `SELECT DISTINCT TABLE_NAME AS table_name FROM information_schema.REFERENTIAL_CONSTRAINTS
     WHERE CONSTRAINT_SCHEMA = ${quoteLiteral(database)}
       AND (DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
         OR UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
     ORDER BY TABLE_NAME`,
  );
  return rows.map((row) => String(row['table_name']));
}

export function streamGone(label: string, how = 'does not exist any more'): PipelineError {
  return new PipelineError('SRC_STREAM_GONE', `table ${label} ${how}`, {
    details: { stream: label },
  });
}

/** Columns that an index begins with, by table, so that what is above a value is found without a look at
 * every row. */
export async function indexedColumns(
  sql: SideSession,
  database: string,
): Promise<Map<string, Set<string>>> {
  const rows = await sql.query(
    `SELECT TABLE_NAME AS table_name, COLUMN_NAME AS column_name FROM information_schema.STATISTICS
     WHERE TABLE_SCHEMA = ${quoteLiteral(database)} AND SEQ_IN_INDEX = 1 AND COLLATION IS NOT NULL
       AND COLUMN_NAME IS NOT NULL`,
  );
  const found = new Map<string, Set<string>>();
  for (const { table_name: table, column_name: column } of rows) {
    const names = found.get(String(table)) ?? new Set();
    found.set(String(table), names.add(String(column)));
  }
  return found;
}
