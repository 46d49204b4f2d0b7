import { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { TopicPart } from '../produce/batch-sender.ts';

/** Where a source stands, plain JSON. `details.streams` holds what is known of each stream by its name;
 * its values are never changed in place, only replaced. */
export interface PositionState {
  readonly position: string;
  readonly epoch: number;
  readonly details: Readonly<Record<string, unknown>>;
}

type Streams = Readonly<Record<string, unknown>>;

/** The records of one source, by key, that count at the end of the positions topic. */
export interface PositionRecords {
  /** Value of the source's own record. */
  readonly position: string | null;
  /** Values of the streams' records, by stream. */
  readonly streams: ReadonlyMap<string, string>;
}

/**
 * The stored position of a source that only one instance writes. It is a record under the source's id
 * with every transaction, and one per stream under `id/stream` with those that change it: what is known
 * of hundreds of tables is hundreds of kilobytes, too much for each transaction, and soon for a record.
 */
export class StoredPosition<State extends PositionState = PositionState> {
  /** Null for a source that never had one. */
  readonly state: State | null;
  private readonly place: Omit<TopicPart, 'arena'>;
  private readonly sourceId: string;
  /** What each stream's record says. */
  private readonly stored = new Map<string, unknown>();

  constructor(sourceId: string, place: Omit<TopicPart, 'arena'>, records: PositionRecords) {
    this.sourceId = sourceId;
    this.place = place;
    for (const stream of records.streams.keys()) this.stored.set(stream, undefined);
    this.state = records.position === null ? null : this.restored(records.position, records);
  }

  private restored(position: string, { streams }: PositionRecords): State {
    const state = JSON.parse(position) as State;
    // Written as one record by an older version, after which no other record counts.
    if (state.details['streams'] !== undefined || state.details[APART] !== true) return state;
    for (const [stream, value] of streams) this.stored.set(stream, JSON.parse(value));
    const { [APART]: _, ...details } = state.details;
    return { ...state, details: { ...details, streams: Object.fromEntries(this.stored) } };
  }

  /** The records that make this the position, to be committed with the events that it stands behind.
   * They count as stored: after a commit that failed the position must be read anew. */
  part(state: PositionState): TopicPart {
    const arena = new RecordArena(1024);
    const { streams, ...details } = state.details;
    if (streams !== undefined) this.putStreams(arena, streams as Streams);
    const own = streams === undefined ? details : { ...details, [APART]: true };
    put(arena, this.sourceId, JSON.stringify({ ...state, details: own }));
    return { ...this.place, arena };
  }

  private putStreams(arena: RecordArena, streams: Streams): void {
    for (const [stream, value] of Object.entries(streams)) {
      if (this.stored.get(stream) === value) continue;
      put(arena, `${this.sourceId}/${stream}`, JSON.stringify(value));
      this.stored.set(stream, value);
    }
    for (const stream of this.stored.keys()) {
      if (Object.hasOwn(streams, stream)) continue;
      put(arena, `${this.sourceId}/${stream}`, null);
      this.stored.delete(stream);
    }
  }
}

/** In the details of a position whose streams have records of their own. */
const APART = 'streamsApart';

/** A record without a value takes its key away. */
function put(arena: RecordArena, key: string, value: string | null): void {
  putText(arena, key);
  arena.endKey();
  if (value !== null) putText(arena, value);
  arena.endValue();
}

function putText(arena: RecordArena, text: string): void {
  const bytes = Buffer.from(text);
  arena.out.ensure(bytes.length);
  arena.out.copyRaw(bytes, 0, bytes.length);
}
