import type { StreamLane } from '../../capture/event-writer.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { placeOfText, type CaptureState } from './position.ts';
import type { RowShape } from './row-events.ts';
import { readTableMap, type TableMap } from './table-map.ts';

/** A table as the log last described it. */
export interface KnownTable {
  /** The description's bytes behind the id: the same again need no second look. */
  readonly raw: Buffer;
  readonly map: TableMap;
  /** Null for a table that is none of ours. */
  readonly lane: StreamLane | null;
  codec: RowCodec | null;
  shape: RowShape | null;
}

const MAX_KNOWN = 20_000;

export class Tables {
  private readonly state: CaptureState;
  private readonly mariadb: boolean;
  private readonly known = new Map<number, KnownTable>();
  private readonly newest = new Map<StreamLane, KnownTable>();
  /** Streams whose snapshot already holds the transactions before a place. */
  private readonly copiedUpTo = new Map<StreamLane, bigint>();

  constructor(state: CaptureState, mariadb: boolean) {
    this.state = state;
    this.mariadb = mariadb;
    for (const lane of state.lanes) {
      const mark = state.mark(lane.label);
      if (mark !== undefined) this.copiedUpTo.set(lane, placeOfText(mark.from));
    }
  }

  byId(id: number): KnownTable | undefined {
    return this.known.get(id);
  }

  copied(lane: StreamLane): boolean {
    return this.copiedUpTo.has(lane);
  }

  forgetPassedSnapshots(place: bigint): void {
    for (const [lane, from] of this.copiedUpTo) if (place >= from) this.copiedUpTo.delete(lane);
  }

  /** Takes a TABLE_MAP event; answers with a table whose new shape must be made ready, or null. */
  described(bytes: Buffer, body: number, end: number): KnownTable | null {
    const id = bytes.readUIntLE(body, 6);
    const found = this.known.get(id);
    const same = found?.raw.compare(bytes, body + 6, end) === 0;
    if (same && (found.lane === null || found.lane.stopped || found.codec !== null)) return null;
    const raw = Buffer.from(bytes.subarray(body + 6, end));
    const map = readTableMap(bytes, body, end, this.mariadb);
    const lane = this.state.lane(`${map.database}.${map.table}`) ?? null;
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    const before = lane === null ? undefined : this.newest.get(lane);
    if (before?.raw.equals(raw) === true && before.codec !== null) {
      this.known.set(id, before);
      return null;
    }
    const table: KnownTable = { raw, map, lane, codec: null, shape: null };
    this.known.set(id, table);
    if (lane === null || lane.stopped || this.copied(lane)) return null;
    this.newest.set(lane, table);
    return table;
  }
}
