import type { KeyText, RangeDigest, RowDigest } from '../spi/comparison.ts';

/**
 * SQL by which two Postgres servers say the same of equal tables, whatever their collations, encodings
 * and indexes. The sessions must print values alike.
 */

export interface DigestKeyColumn {
  /** The column, quoted and with the alias `t`. */
  readonly column: string;
  /** Its text, by which both sides name the key. */
  readonly text: string;
  readonly type: string;
  readonly order: 'native' | 'text';
}

export interface DigestTable {
  /** What stands behind FROM: the table `AS t`. */
  readonly from: string;
  readonly where: string;
  /** A text that is the same on both sides when all compared columns are. */
  readonly row: string;
  readonly key: readonly DigestKeyColumn[];
  /** See RowDigest. */
  readonly version: string;
  readonly moving: string;
  /** The same for digests, which ask it of every row. */
  readonly movingInDigest: string;
}

export interface DigestQuery {
  readonly text: string;
  /** One array of texts per parameter. */
  readonly values: readonly (readonly string[])[];
}

/** A row as text has quotes around what could be mistaken, and tells NULL from an empty text. */
export function recordText(columns: readonly string[]): string {
  return `ROW(${columns.join(',')})::text`;
}

/** Sixty bits: a sum of 2^60 of them still fits what the server adds exactly. */
function hashOf({ row }: DigestTable): string {
  return `('x'||left(md5(convert_to(${row},'UTF8')),15))::bit(60)::bigint`;
}

function orderOf({ column, text, order }: DigestKeyColumn): string {
  return order === 'native' ? column : `(${text}) COLLATE "C"`;
}

function keyJson({ key }: DigestTable): string {
  return `json_build_array(${key.map(({ text }) => text).join(',')})`;
}

/** Given keys as rows, typed so that they compare with the table's. */
function given(table: DigestTable, names: string, first: number): string {
  const { key } = table;
  const arrays = key.map((_, i) => `$${first + i}::text[]`).join(',');
  const cells = key.map(({ order, type }, i) =>
    order === 'native' ? `g${i}::${type} AS ${names}${i}` : `g${i} COLLATE "C" AS ${names}${i}`,
  );
  const columns = key.map((_, i) => `g${i}`).join(',');
  return `(SELECT ${cells.join(',')} FROM unnest(${arrays}) AS g(${columns}))`;
}

function transposed(table: DigestTable, keys: readonly KeyText[]): string[][] {
  return table.key.map((_, i) => keys.map((key) => key[i] as string));
}

/** `k0,k1` for the prefix `k`. */
function names(table: DigestTable, prefix: string): string {
  return table.key.map((_, i) => `${prefix}${i}`).join(',');
}

export function countQuery({ from, where }: DigestTable): DigestQuery {
  return { text: `SELECT count(*) FROM ${from} WHERE ${where}`, values: [] };
}

/** Every `rows`-th key in key order. */
export function cutsQuery(table: DigestTable, rows: number): DigestQuery {
  const order = table.key.map(orderOf).join(',');
  return {
    text:
      `SELECT key::text FROM (SELECT ${keyJson(table)} AS key, row_number() OVER (ORDER BY ${order}) AS n ` +
      `FROM ${table.from} WHERE ${table.where}) AS numbered WHERE n % ${rows} = 0 ORDER BY n`,
    values: [],
  };
}

/** Rows and cuts in one order; a row belongs to as many cuts as stand before it. */
function placed(table: DigestTable, cells: readonly string[]): string {
  const outer = cells.map((_, i) => `x${i}`).join(',');
  const order = names(table, 'k');
  const own = table.key.map((column, i) => `${orderOf(column)} AS k${i}`).join(',');
  const inner = cells.map((cell, i) => `${cell} AS x${i}`).join(',');
  const cuts = `SELECT ${names(table, 'k')}${',NULL'.repeat(cells.length)},1 FROM ${given(table, 'k', 1)} AS c`;
  return (
    `(SELECT ${outer}, cut, count(cut) OVER (ORDER BY ${order}, cut NULLS LAST ` +
    `ROWS UNBOUNDED PRECEDING) AS range FROM (SELECT ${own},${inner},NULL::int AS cut ` +
    `FROM ${table.from} WHERE ${table.where} UNION ALL ${cuts}) AS both_kinds)`
  );
}

export function digestQuery(table: DigestTable, cuts: readonly KeyText[]): DigestQuery {
  const moving = `CASE WHEN ${table.movingInDigest} THEN ${keyJson(table)}::text END`;
  return {
    text:
      `SELECT range, count(x0) FILTER (WHERE x1 IS NULL), ` +
      `coalesce(sum(x0) FILTER (WHERE x1 IS NULL),0), string_agg(x1, ',') ` +
      `FROM ${placed(table, [hashOf(table), moving])} AS p WHERE cut IS NULL GROUP BY range`,
    values: transposed(table, cuts),
  };
}

type Cells = readonly (string | null)[];

export function readDigests(rows: readonly Cells[]): RangeDigest[] {
  return rows.map(([range, count, hash, moving]) => ({
    range: Number(range),
    rows: Number(count),
    hash: BigInt(hash as string),
    moving: JSON.parse(`[${moving ?? ''}]`) as KeyText[],
  }));
}

function rowCells(table: DigestTable): string[] {
  return [`${keyJson(table)}::text`, hashOf(table), table.version, table.moving];
}

/** Digests of all rows in the ranges. */
export function rangesQuery(
  table: DigestTable,
  cuts: readonly KeyText[],
  ranges: readonly number[],
): DigestQuery {
  const isIndexed = table.key.every(({ order }) => order === 'native');
  return isIndexed ? rangesByIndex(table, cuts, ranges) : rangesByScan(table, cuts, ranges);
}

function rangesByScan(
  table: DigestTable,
  cuts: readonly KeyText[],
  ranges: readonly number[],
): DigestQuery {
  const cells = rowCells(table);
  return {
    text:
      `SELECT x0,x1,x2,x3 FROM ${placed(table, cells)} AS p ` +
      `WHERE cut IS NULL AND range = ANY($${table.key.length + 1}::text[]::bigint[])`,
    values: [...transposed(table, cuts), ranges.map(String)],
  };
}

/** Ranges between two cuts, the one before all cuts and the one behind them, each by their own
 * condition: one condition for all three would keep the server from using the index. */
function rangesByIndex(
  table: DigestTable,
  cuts: readonly KeyText[],
  ranges: readonly number[],
): DigestQuery {
  const key = `(${table.key.map(({ column }) => column).join(',')})`;
  const values: string[][] = [];
  const bound = (keys: readonly KeyText[], name: string): string => {
    const rows = given(table, name, values.length + 1);
    values.push(...transposed(table, keys));
    return rows;
  };
  const at = (name: string): string => table.key.map((_, i) => `${name}.${name}${i}`).join(',');
  const parts: string[] = [];
  if (cuts.length === 0) return { text: rowsQuery(table, 'true'), values };
  if (ranges.includes(0)) {
    const rows = rowsQuery(table, `${key} < (${at('hi')})`);
    parts.push(`${bound(cuts.slice(0, 1), 'hi')} AS hi CROSS JOIN LATERAL (${rows} OFFSET 0) AS r`);
  }
  if (ranges.includes(cuts.length)) {
    const rows = rowsQuery(table, `${key} >= (${at('lo')})`);
    parts.push(`${bound(cuts.slice(-1), 'lo')} AS lo CROSS JOIN LATERAL (${rows} OFFSET 0) AS r`);
  }
  const inner = ranges.filter((range) => range > 0 && range < cuts.length);
  if (inner.length > 0) {
    const numbered = (name: string, shift: number): string =>
      `(SELECT *, row_number() OVER () AS n FROM ${bound(
        inner.map((range) => cuts[range + shift] as KeyText),
        name,
      )} AS q)`;
    const rows = rowsQuery(table, `${key} >= (${at('lo')}) AND ${key} < (${at('hi')})`);
    parts.push(
      `${numbered('lo', -1)} AS lo JOIN ${numbered('hi', 0)} AS hi USING (n) ` +
        `CROSS JOIN LATERAL (${rows} OFFSET 0) AS r`,
    );
  }
  return { text: parts.map((part) => `SELECT r.* FROM ${part}`).join(' UNION ALL '), values };
}

function rowsQuery(table: DigestTable, condition: string): string {
  return `SELECT ${rowCells(table).join(',')} FROM ${table.from} WHERE ${table.where} AND ${condition}`;
}

/** Rows by key, each looked up in the index: OFFSET 0 keeps the planner from reading the whole table. */
export function keysQuery(table: DigestTable, keys: readonly KeyText[]): DigestQuery {
  const cells = table.key.map(({ type }, i) => `g${i}::${type} AS k${i}`).join(',');
  const arrays = table.key.map((_, i) => `$${i + 1}::text[]`).join(',');
  const match = table.key.map(({ column }, i) => `${column} = w.k${i}`).join(' AND ');
  return {
    text:
      `SELECT r.* FROM (SELECT ${cells} FROM unnest(${arrays}) AS g(${names(table, 'g')})) AS w ` +
      `CROSS JOIN LATERAL (${rowsQuery(table, match)} OFFSET 0) AS r`,
    values: transposed(table, keys),
  };
}

export function readRows(rows: readonly Cells[]): RowDigest[] {
  return rows.map(([key, hash, version, moving]) => ({
    key: JSON.parse(key as string) as KeyText,
    hash: BigInt(hash as string),
    version: version as string,
    moving: moving === 't',
  }));
}
