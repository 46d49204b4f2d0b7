import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type { CaptureState } from './capture-state.ts';
import { streamGone, tableRenamed } from './catalog.ts';
import type { TypeRegistry } from './column-types.ts';
import type { CaptureConfig } from './config.ts';
import { stopsStreamOnly, type StreamLane } from '../../capture/event-writer.ts';
import { lsnOfServer, type StreamMark } from './position.ts';
import { publishedTables, readPublications, type PublishedTable } from './publication.ts';
import { refuseOtherKey } from '../../capture/stream-key.ts';
import { isSameKey, nativeOf } from './relations.ts';
import type { SideSession } from './session.ts';
import { followShape, hasSameColumns, isSettled } from './shape-change.ts';
import { readShapes, type TableShape } from './table-shape.ts';

const LOOK_EVERY_MS = 10_000;

export interface EndedStream {
  readonly lane: StreamLane;
  readonly error: PipelineError;
}

/**
 * The log says nothing when a table is dropped or taken out of the publication: its events just stop
 * coming. The catalog is looked at now and then; what it says becomes true for the stream when it has
 * read up to the moment of the look.
 */
export class StreamWatch {
  private readonly sql: SideSession;
  private readonly capture: CaptureConfig;
  private readonly state: CaptureState;
  private readonly types: TypeRegistry;
  private readonly ending = new Map<StreamLane, { error: PipelineError; at: bigint }>();
  private lookedAt = 0;

  constructor(sql: SideSession, capture: CaptureConfig, state: CaptureState, types: TypeRegistry) {
    this.sql = sql;
    this.types = types;
    this.capture = capture;
    this.state = state;
  }

  /** Publications to stream from. */
  async publications(): Promise<string[]> {
    return [...(await readPublications(this.sql, this.capture)).keys()].sort();
  }

  /** Looks when it is time; answers the end of the server's log, or null when it was too early. */
  async look(): Promise<bigint | null> {
    if (Date.now() - this.lookedAt < LOOK_EVERY_MS) return null;
    this.lookedAt = Date.now();
    const gone = await findEnded(this.sql, this.capture, this.state, this.types);
    const [row] = await this.sql.query(
      `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
         ELSE pg_current_wal_insert_lsn() END AS lsn`,
    );
    const at = lsnOfServer(String(row?.['lsn']));
    for (const { lane, error } of gone) {
      if (!this.ending.has(lane)) this.ending.set(lane, { error, at });
    }
    return at;
  }

  /** Streams whose end the stream has reached. */
  due(through: bigint): EndedStream[] {
    const due: EndedStream[] = [];
    for (const [lane, { error, at }] of this.ending) {
      if (through >= at && !lane.stopped) due.push({ lane, error });
    }
    return due;
  }
}

/** Streams with a position that cannot go on by what the catalog says now. */
export async function findEnded(
  sql: SideSession,
  capture: CaptureConfig,
  state: CaptureState,
  types: TypeRegistry,
): Promise<EndedStream[]> {
  const published = await publishedTables(sql, capture);
  const lanes = state.lanes.filter(
    (lane) => !lane.stopped && state.mark(lane.label)?.done === true,
  );
  const oids = lanes.map((lane) => state.mark(lane.label)?.oid ?? 0);
  const shapes = await readShapes(sql, oids);
  const ended: EndedStream[] = [];
  for (const [index, lane] of lanes.entries()) {
    const mark = state.mark(lane.label) as StreamMark;
    const shape = shapes.get(oids[index] as number);
    try {
      if (shape === undefined) throw streamGone(lane.label);
      if (shape.label !== lane.label) throw tableRenamed(lane.label, shape.label);
      const what = unpublished(published.get(lane.label), mark.published);
      if (what !== null) throw publicationError(lane.label, what);
      await compareShape(sql, state, lane, mark, shape, types);
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure)) throw failure;
      ended.push({ lane, error: failure });
    }
  }
  return ended;
}

/** DDL that no change follows is found here. What it may carry is left to the log, which tells when. */
async function compareShape(
  sql: SideSession,
  state: CaptureState,
  lane: StreamLane,
  mark: StreamMark,
  shape: TableShape,
  types: TypeRegistry,
): Promise<void> {
  const known = mark.shape;
  if (known === undefined || isSettled(known, shape)) return;
  const { key = [] } = mark;
  const resolved = await types.resolve(shape.columns);
  const columns = shape.columns.map(({ name, type, mod }, index) => {
    return { name, type, mod, native: nativeOf(resolved[index]) };
  });
  const next = await followShape(sql, known, shape, columns, key);
  if (key.length > 0 && !isSameKey(key, shape.key)) refuseOtherKey(lane.label, shape.key, key);
  // A rewrite that changed no column is done with: it must not be put down to a column added later.
  if (hasSameColumns(known, shape) && state.mark(lane.label) === mark) {
    state.setMark(lane.label, { ...mark, shape: next });
  }
}

function unpublished(
  table: PublishedTable | undefined,
  before: readonly string[] | undefined,
): string | null {
  if (table === undefined) return 'is not in the publication any more';
  if (table.narrowed) {
    return 'is published with a row filter or a column list, which hides changes';
  }
  if (before === undefined || before.some((entry) => table.entries.includes(entry))) return null;
  return 'was out of the publication for a while: what was written meanwhile is lost in the log';
}

function publicationError(label: string, what: string): PipelineError {
  return new PipelineError('SRC_PUBLICATION_MISSING', `table ${label} ${what}`, {
    details: { stream: label },
  });
}
