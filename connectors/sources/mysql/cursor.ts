import {
  columnMissing,
  columnUnusable,
  cursorChoice,
  type CursorChoice,
  type CursorKind,
} from '../../capture/cursor-columns.ts';
import type { ColumnFacts, TableFacts } from './catalog.ts';
import { comparedColumn, type ComparedColumn } from './key-chunks.ts';
import { quoteIdentifier, quoteLiteral, type Row } from './session.ts';
import { fromTable } from './text-rows.ts';

/**
 * An incremental read by a cursor column. A row may become visible late: its transaction took the
 * cursor's value, and others with higher values committed first. Nothing that a SELECT may see tells of
 * such a transaction, so a read looks again at what lies closely below the highest value of the one
 * before, and knows the rows it has met there by their fingerprints.
 */

/** Where an incremental reading stands. */
export interface CursorPlace {
  readonly column: string;
  /** The next read looks at values from here on, as the server prints them; null: at every row. */
  readonly floor: string | null;
  /** Fingerprints of the rows there that were read. */
  readonly seen: string;
}

/** Of a place, over all streams of a job: their text is kept in one record, of half its limit. */
const MOST_SEEN = 30_000;
const MOST_OVERLAP_ROWS = 10_000;

export function seenLimit(streams: number): number {
  return Math.floor(MOST_SEEN / Math.max(1, streams));
}

const WHOLE = /^(tiny|small|medium|big)?int$/;
const TIME = /^(date|datetime|timestamp)$/;
const TEXT = /^(char|varchar|(tiny|medium|long)?text)$/;

function cursorKind({ dataType }: ColumnFacts): CursorKind | null {
  if (WHOLE.test(dataType)) return 'whole';
  if (dataType === 'decimal') return 'numeric';
  if (TIME.test(dataType)) return 'time';
  return TEXT.test(dataType) ? 'text' : null;
}

/** Columns that may be a cursor, and the one to take when none is named. */
export function cursorColumns({ columns }: Pick<TableFacts, 'columns'>): CursorChoice {
  return cursorChoice(columns.map((each) => ({ name: each.name, kind: cursorKind(each) })));
}

/** A day that lies before all days: '0000-00-00' and its like become null, and have no order. */
const FIRST_DAY = `'0001-01-01 00:00:00'`;

/** The latest time that a clock can say, in UTC or where the server is: what lies behind it was not
 * taken from one, and would hide all rows that come after it. */
const LATEST =
  `GREATEST(UTC_TIMESTAMP(), COALESCE(CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone), UTC_TIMESTAMP()))` +
  ` + INTERVAL 1 MINUTE`;

export type Ask = (sql: string) => Promise<Row[]>;

/** A cursor column in the statements that read by it. */
export class TableCursor {
  readonly column: string;
  private readonly table: TableFacts;
  private readonly facts: ColumnFacts;
  private readonly compared: ComparedColumn;
  private readonly kind: CursorKind;

  constructor(table: TableFacts, column: string, label: string) {
    const facts = table.columns.find(({ name }) => name === column);
    if (facts === undefined) throw columnMissing(label, column);
    const kind = cursorKind(facts);
    const compared = comparedColumn(facts);
    if (kind === null || compared === null) {
      throw columnUnusable(label, column, 'its type has no order in time');
    }
    this.table = table;
    this.column = column;
    this.facts = facts;
    this.kind = kind;
    this.compared = compared;
  }

  /** Rows from a floor on, and those without a place in the order. */
  from(floor: string | null): string {
    if (floor === null) return '1';
    const column = quoteIdentifier(this.column);
    const noDay = this.kind === 'time' ? ` OR ${column} < ${FIRST_DAY}` : '';
    return `(${column} >= ${this.compared.literal(floor)} OR ${column} IS NULL${noDay})`;
  }

  /** The floor of the read after this one: never below that of this one, for what lies below it was not
   * looked at. */
  async nextFloor(
    ask: Ask,
    before: string | null,
    overlap: { readonly seconds: number; readonly rows: number },
  ): Promise<string | null> {
    if (this.kind !== 'time') {
      const rows = Math.max(1, Math.min(MOST_OVERLAP_ROWS, overlap.rows));
      return (await this.highest(ask, before, rows - 1)) ?? before;
    }
    const highest = await this.highest(ask, before, 0);
    if (highest === null) return before;
    const type = this.facts.dataType === 'date' ? 'DATE' : 'DATETIME(6)';
    const time = `CAST(${quoteLiteral(highest)} AS DATETIME(6)) - INTERVAL ${overlap.seconds} SECOND`;
    const [row] = await ask(`SELECT CAST(${time} AS ${type}) AS value`);
    const floor = row?.['value'] ?? null;
    // Both are printed alike, so that their texts have the order of the times.
    return floor === null || (before !== null && before > floor) ? before : floor;
  }

  /** The highest value that takes part in the order, or the one so many rows below it. */
  private async highest(ask: Ask, floor: string | null, below: number): Promise<string | null> {
    const column = quoteIdentifier(this.column);
    const within = [`${column} IS NOT NULL`];
    if (this.kind === 'time') within.push(`${column} <= ${LATEST}`);
    if (floor !== null) within.push(`${column} >= ${this.compared.literal(floor)}`);
    const [row] = await ask(
      `SELECT ${this.compared.printed} AS value FROM ${fromTable(this.table)} ` +
        `WHERE ${within.join(' AND ')} ORDER BY ${column} DESC LIMIT 1 OFFSET ${below}`,
    );
    return row?.['value'] ?? null;
  }
}
