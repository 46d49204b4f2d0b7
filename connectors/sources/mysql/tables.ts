import type { StreamLane } from '../../capture/event-writer.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { CopiedParts } from './copied-parts.ts';
import { placeOfText, withoutParts, type CaptureState, type StreamMark } from './position.ts';
import type { RowShape } from './row-events.ts';
import { readTableMap, type TableMap } from './table-map.ts';
import { uint48At } from './wire-integers.ts';

/** A table as the log last described it. */
export interface KnownTable {
  /** The description's bytes behind the id: the same again need no second look. */
  readonly raw: Buffer;
  readonly map: TableMap;
  /** Null for a table that is none of ours. */
  readonly lane: StreamLane | null;
  /** Where the transaction begins in which it was described. */
  readonly place: bigint;
  codec: RowCodec | null;
  shape: RowShape | null;
}

const MAX_KNOWN = 20_000;

export class Tables {
  private readonly state: CaptureState;
  private readonly mariadb: boolean;
  private place = 0n;
  private readonly known = new Map<number, KnownTable>();
  private readonly newest = new Map<StreamLane, KnownTable>();
  /** Streams whose snapshot already holds the transactions before a place. */
  private readonly copiedUpTo = new Map<StreamLane, bigint>();
  /** Of these, the ones that earlier snapshots hold in part. */
  private readonly copiedInParts = new Map<StreamLane, CopiedParts>();

  constructor(state: CaptureState, mariadb: boolean) {
    this.state = state;
    this.mariadb = mariadb;
    for (const lane of state.lanes) {
      const mark = state.mark(lane.label);
      if (mark !== undefined) this.copiedUpTo.set(lane, placeOfText(mark.from));
      if (mark?.parts === undefined) continue;
      this.copiedInParts.set(lane, new CopiedParts(mark.parts, mark.order ?? []));
    }
  }

  byId(id: number): KnownTable | undefined {
    return this.known.get(id);
  }

  /** What of a stream's changes in the transaction at hand its snapshot does not hold. */
  due(lane: StreamLane): 'all' | 'none' | CopiedParts {
    if (!this.copiedUpTo.has(lane)) return 'all';
    const parts = this.copiedInParts.get(lane);
    return parts?.begun === true ? parts : 'none';
  }

  /** A transaction begins at `place`. */
  forgetPassedSnapshots(place: bigint): void {
    this.place = place;
    for (const parts of this.copiedInParts.values()) parts.place = place;
    for (const [lane, from] of this.copiedUpTo) {
      if (place < from) continue;
      this.copiedUpTo.delete(lane);
      if (!this.copiedInParts.delete(lane)) continue;
      this.state.setMark(lane.label, withoutParts(this.state.mark(lane.label) as StreamMark));
    }
  }

  /** The same description may mean other columns from now on. */
  forgetDescriptions(): void {
    this.known.clear();
    this.newest.clear();
  }

  /** Takes a TABLE_MAP event; answers with a table whose new shape must be made ready, or null. */
  described(bytes: Buffer, body: number, end: number): KnownTable | null {
    const id = uint48At(bytes, body);
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
    const table: KnownTable = { raw, map, lane, place: this.place, codec: null, shape: null };
    this.known.set(id, table);
    if (lane === null || lane.stopped || this.due(lane) === 'none') return null;
    this.newest.set(lane, table);
    return table;
  }
}
