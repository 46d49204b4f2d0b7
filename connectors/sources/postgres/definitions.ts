import type { RowCodec } from '../../capture/row-codec.ts';
import type { CaptureState } from './capture-state.ts';
import { FIRST_USER_OID } from './column-types.ts';
import type { RelationMessage } from './pgoutput.ts';
import type { StreamMark } from './position.ts';
import type { SideSession } from './session.ts';
import { askedUntil, SeenTransactions } from './visibility.ts';

// Whatever readShapes reads of such a table is changed by a new version of one of these entries. ANALYZE
// and VACUUM write theirs in place.
const DEFINITIONS_SQL = `
  SELECT s.snapshot, c.oid,
    encode(sha256(convert_to(concat_ws(' ', c.xmin, c.relfilenode, n.xmin,
      (SELECT string_agg(a.attnum || ':' || a.xmin, ',' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
      (SELECT string_agg(i.indexrelid || ':' || i.xmin, ',' ORDER BY i.indexrelid)
        FROM pg_index i WHERE i.indrelid = c.oid)), 'UTF8')), 'hex') AS definition
  FROM (SELECT pg_current_snapshot()::text AS snapshot) AS s
  LEFT JOIN pg_class c ON c.oid = ANY($1::oid[]) AND c.relkind = 'r' AND NOT c.relhassubclass
    AND NOT c.relispartition
  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace`;

/** What a relation message was compiled to, and from what. */
interface Compiled {
  readonly message: string;
  readonly definition: string;
  readonly mark: StreamMark | undefined;
  readonly codec: RowCodec;
}

/**
 * Tells whether a table is still defined as it was when its relation message was compiled. The server
 * describes a table again after each ANALYZE, autovacuum's too: hundreds of busy tables in the same
 * second, and asking for the whole catalog of each in turn would hold up the stream for seconds. One
 * question answers for all tables, and for all transactions that it saw.
 */
export class Definitions {
  private readonly sql: SideSession;
  private readonly state: CaptureState;
  private readonly compiled = new Map<number, Compiled>();
  private snapshot: SeenTransactions | null = null;
  private definitions = new Map<number, string>();

  constructor(sql: SideSession, state: CaptureState) {
    this.sql = sql;
    this.state = state;
  }

  /** Waits until what the transaction did can be seen. `xid` is the lower half of its id. */
  async see(xid: number): Promise<void> {
    if (this.snapshot?.sees(xid) === true) return;
    const oids = this.state.lanes.map(({ label }) => this.state.mark(label)?.oid ?? 0);
    await askedUntil(async () => {
      const rows = await this.sql.prepared('definitions', DEFINITIONS_SQL, [oids]);
      this.snapshot = new SeenTransactions(String(rows[0]?.['snapshot']));
      this.definitions = new Map(
        rows.flatMap(({ oid, definition }) =>
          oid === null ? [] : [[Number(oid), String(definition)] as const],
        ),
      );
      return this.snapshot.sees(xid) ? true : undefined;
    });
  }

  /** The codec that the same message was compiled to, if nothing that it rests on has changed up to
   * what was seen last; null when it must be compiled. */
  codecOf(message: RelationMessage, mark: StreamMark | undefined): RowCodec | null {
    const before = this.compiled.get(message.oid);
    const isSame =
      before !== undefined &&
      before.mark === mark &&
      before.definition === this.definitions.get(message.oid) &&
      before.message === JSON.stringify(message);
    return isSame ? before.codec : null;
  }

  /** Notes a codec by the definition that was seen before it was compiled: a change in between shows
   * the next time. */
  note(message: RelationMessage, mark: StreamMark | undefined, codec: RowCodec): void {
    const definition = this.definitions.get(message.oid);
    // Users' types may be renamed and changed, which entries of their tables do not tell.
    const hasUserTypes = message.columns.some(({ type }) => type >= FIRST_USER_OID);
    if (definition === undefined || hasUserTypes) this.compiled.delete(message.oid);
    else {
      const text = JSON.stringify(message);
      this.compiled.set(message.oid, { message: text, definition, mark, codec });
    }
  }
}
