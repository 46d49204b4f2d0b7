import type { QueryEvent } from './binlog-events.ts';
import { tablesNamed, type ColumnFacts, type TableFacts } from './catalog.ts';
import type { MysqlSourceConfig } from './config.ts';
import { DdlAhead } from './ddl-ahead.ts';
import { logIncomplete } from './errors.ts';
import { placeOfText, placeText, type CaptureState, type StreamMark } from './position.ts';
import { logStatus } from './server.ts';
import type { SideSession } from './session.ts';
import { bareStatement, mayChangeShape } from './statements.ts';
import { differenceOf } from './table-check.ts';
import type { TableMap } from './table-map.ts';

/** A table as it was from a place in the log on. */
export interface TableShape {
  readonly since: string;
  readonly columns: readonly ColumnFacts[];
  readonly key: readonly string[];
}

/** Or one that is not known: a statement may have changed it, and the catalog was not asked yet. */
export type KnownShape = TableShape | { readonly since: string; readonly columns: null };

/**
 * What the log leaves out of its tables' descriptions when binlog_row_metadata is not FULL: names, key,
 * members of ENUM and SET. It is kept with the stream's mark, each shape from the place on where it
 * began, so that a restart reads rows as they were when they were written.
 */
export class SchemaHistory {
  private readonly state: CaptureState;
  private readonly sql: SideSession;
  private readonly ahead: DdlAhead;

  constructor(parts: {
    readonly state: CaptureState;
    readonly sql: SideSession;
    readonly config: MysqlSourceConfig;
    readonly checksums: boolean;
    readonly sourceId: string;
  }) {
    this.state = parts.state;
    this.sql = parts.sql;
    this.ahead = new DdlAhead({ ...parts, base: parts.state.base });
  }

  /** A statement that ends at `place`; answers whether it may have changed tables of ours. */
  ran({ database, text }: QueryEvent, place: bigint): boolean {
    const statement = bareStatement(text);
    const since = placeText(place);
    let changed = false;
    for (const { label, stream } of this.state.lanes) {
      const mark = this.state.mark(label);
      const newest = mark?.shapes?.at(-1);
      if (mark === undefined || newest === undefined || newest.since >= since) continue;
      if (!mayChangeShape(statement, database, stream)) continue;
      this.put(label, mark, { since, columns: null });
      changed = true;
    }
    return changed;
  }

  /** The shape in which the log describes the table in a transaction that begins at `place`. Throws
   * SRC_LOG_INCOMPLETE when that is in doubt. */
  async shapeOf(map: TableMap, place: bigint): Promise<TableShape> {
    const label = `${map.database}.${map.table}`;
    const mark = this.state.mark(label);
    const known = mark?.shapes?.findLast(({ since }) => placeOfText(since) <= place);
    const shape =
      known === undefined || known.columns === null
        ? await this.shapeNow(map, place, known?.since)
        : known;
    const difference = differenceOf(map, shape.columns);
    if (difference !== null) throw doubt(label, difference);
    if (mark !== undefined && shape !== known) this.put(label, mark, shape);
    return shape;
  }

  /** The catalog tells the shape of now. It is that of then when nothing in between may have changed it. */
  private async shapeNow(map: TableMap, place: bigint, since?: string): Promise<TableShape> {
    const stream = { namespace: map.database, name: map.table };
    const label = `${map.database}.${map.table}`;
    const table = (await tablesNamed(this.sql, [stream])).get(label);
    const { place: end } = await logStatus((text) => this.sql.query(text));
    if (table === undefined || (await this.ahead.changes(stream, place, end))) {
      throw doubt(label, 'it was changed again since, by a statement further on in the log');
    }
    return shapeOfTable(table, since ?? placeText(place));
  }

  private put(label: string, mark: StreamMark, shape: KnownShape): void {
    const others = (mark.shapes ?? []).filter(({ since }) => since !== shape.since);
    this.state.setMark(label, { ...mark, shapes: [...others, shape] });
  }
}

export function shapeOfTable({ columns, key }: TableFacts, since: string): TableShape {
  return { since, columns, key };
}

function doubt(label: string, why: string): Error {
  return logIncomplete(
    label,
    `the log does not name its columns, and ${why}; run: SET GLOBAL binlog_row_metadata = 'FULL'`,
  );
}
