import type { ColumnFacts, TableFacts } from './catalog.ts';
import { quoteIdentifier, quoteLiteral } from './session.ts';
import { fromTable, printedColumns } from './text-rows.ts';

/** How a value of a column is printed, and written again so that the server compares it with the
 * column by the column's own rules. */
export interface ComparedColumn {
  readonly name: string;
  /** SQL that prints it; the column itself where its text is exact. */
  readonly printed: string;
  literal(printed: string): string;
}

const NUMBER = /^(tinyint|smallint|mediumint|int|bigint|decimal|year)$/;
const QUOTED = /^(date|datetime|timestamp|time|uuid|inet4|inet6)$/;
const TEXT = /^(char|varchar|tinytext|text|mediumtext|longtext)$/;
const BYTES = /^(binary|varbinary|tinyblob|blob|mediumblob|longblob)$/;
const COUNTED = /^(bit|enum|set)$/;

/** Null for a type whose values no statement can name exactly, such as floats. */
export function comparedColumn({ name, dataType, charset }: ColumnFacts): ComparedColumn | null {
  const column = quoteIdentifier(name);
  const number = (printed: string): string => printed;
  if (NUMBER.test(dataType)) return { name, printed: column, literal: number };
  // Compared as text, ENUM and SET would have another order than by the numbers they are kept as.
  if (COUNTED.test(dataType)) return { name, printed: `${column} + 0`, literal: number };
  if (QUOTED.test(dataType)) return { name, printed: column, literal: quoteLiteral };
  // By its bytes: what is converted to UTF-8 and back need not be the same text.
  const introducer = TEXT.test(dataType) && charset !== null ? `_${charset} ` : '';
  if (introducer === '' && !BYTES.test(dataType)) return null;
  return { name, printed: `HEX(${column})`, literal: (hex) => `${introducer}X'${hex}'` };
}

interface OrderedColumn extends ComparedColumn {
  readonly descending: boolean;
  /** Which cell of a row prints it. */
  readonly cell: number;
}

export interface ChunkBounds {
  /** Of the row to begin behind; null for the first one. */
  readonly after: readonly string[] | null;
  /** Of the last row to read; none to read on. */
  readonly upTo?: readonly string[];
  readonly limit?: number;
}

/**
 * A table in the order of its primary key, to be read piece by piece. A place in it is the key of a row
 * as `keyOf` takes it from the row's cells: texts that can be stored.
 */
export class KeyOrder {
  private readonly table: TableFacts;
  private readonly columns: readonly OrderedColumn[];
  /** Whether what is behind a key is found without a look at all that is before it. */
  readonly findsRanges: boolean;
  /** Cells of a row of `select`: the table's columns first. */
  readonly cells: readonly string[];

  private constructor(table: TableFacts, columns: readonly ComparedColumn[]) {
    this.table = table;
    this.findsRanges = !isCountedFirst(table);
    const cells = printedColumns(table);
    this.columns = columns.map((each, index) => {
      const descending = table.keyParts[index]?.descending === true;
      const found = cells.indexOf(each.printed);
      return { ...each, descending, cell: found >= 0 ? found : cells.push(each.printed) - 1 };
    });
    this.cells = cells;
  }

  /** Null for a table that has no key, or one by which no statement can be held to the index.
   * `inOneScan`: it is not read in pieces that each have to be found. */
  static of(table: TableFacts, { inOneScan = false } = {}): KeyOrder | null {
    if (table.key.length === 0 || table.keyParts.some(({ partial }) => partial)) return null;
    if (isCountedFirst(table) && !inOneScan) return null;
    const facts = table.key.map((name) => table.columns.find((column) => column.name === name));
    const columns: ComparedColumn[] = [];
    for (const each of facts) {
      const compared = each === undefined ? null : comparedColumn(each);
      if (compared === null) return null;
      columns.push(compared);
    }
    return new KeyOrder(table, columns);
  }

  /** Rows behind `after`, in order. `more`: further cells, behind those of `cells`. */
  select(bounds: ChunkBounds, more: readonly string[] = []): string {
    return this.selected([...this.cells, ...more], bounds);
  }

  /** The key of one row behind `skipped` others: its cells are where they are in a row of `select`. */
  selectKey(bounds: ChunkBounds, skipped: number): string {
    const key = new Set(
      this.columns.flatMap(({ name, printed }) => [quoteIdentifier(name), printed]),
    );
    const cells = this.cells.map((cell) => (key.has(cell) ? cell : 'NULL'));
    return `${this.selected(cells, bounds)} LIMIT 1 OFFSET ${skipped}`;
  }

  private selected(cells: readonly string[], { after, upTo, limit }: ChunkBounds): string {
    const within: string[] = [];
    if (after !== null) within.push(this.compared(after, 'behind'));
    if (upTo !== undefined) within.push(this.compared(upTo, 'up to'));
    const order = this.columns.map(
      ({ name, descending }) => `${quoteIdentifier(name)}${descending ? ' DESC' : ''}`,
    );
    return (
      `SELECT ${cells.join(', ')} ` +
      `FROM ${fromTable(this.table)} FORCE INDEX (PRIMARY)` +
      `${within.length === 0 ? '' : ` WHERE ${within.join(' AND ')}`}` +
      ` ORDER BY ${order.join(', ')}${limit === undefined ? '' : ` LIMIT ${limit}`}`
    );
  }

  /** Spelled out: (a, b) > (x, y) finds no range of an index. */
  private compared(key: readonly string[], side: 'behind' | 'up to'): string {
    let condition = '';
    this.columns.toReversed().forEach(({ name, descending, literal }, back) => {
      const column = quoteIdentifier(name);
      const value = literal(key[key.length - 1 - back] as string);
      const isBehind = (side === 'behind') !== descending;
      const strict = `${column} ${isBehind ? '>' : '<'} ${value}`;
      if (back === 0)
        condition = side === 'behind' ? strict : `${column} ${isBehind ? '>=' : '<='} ${value}`;
      else condition = `${strict} OR (${column} = ${value} AND (${condition}))`;
    });
    return `(${condition})`;
  }

  /** The place of a row, from its cells. */
  keyOf(bytes: Buffer, spans: Int32Array): string[] {
    return this.columns.map(({ cell }) =>
      bytes.toString('utf8', spans[cell * 2], spans[cell * 2 + 1]),
    );
  }
}

/** No range of the index is found by the number of an ENUM or SET: a piece would begin at its start. */
function isCountedFirst({ key, columns }: TableFacts): boolean {
  const first = columns.find(({ name }) => name === key[0]);
  return /^(enum|set)$/.test(first?.dataType ?? '');
}
