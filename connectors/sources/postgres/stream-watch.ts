import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { CaptureState } from './capture-state.ts';
import { streamGone } from './catalog.ts';
import type { CaptureConfig } from './config.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import { lsnOfServer } from './position.ts';
import { publishedTables, readPublications, type PublishedTable } from './publication.ts';
import type { SideSession } from './session.ts';

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
  private readonly ending = new Map<StreamLane, { error: PipelineError; at: bigint }>();
  private lookedAt = 0;

  constructor(sql: SideSession, capture: CaptureConfig, state: CaptureState) {
    this.sql = sql;
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
    const gone = await findEnded(this.sql, this.capture, this.state);
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
): Promise<EndedStream[]> {
  const published = await publishedTables(sql, capture);
  const rows = await sql.query(
    `SELECT c.oid, n.nspname || '.' || c.relname AS label
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [state.lanes.map((lane) => lane.stream.namespace), state.lanes.map((lane) => lane.stream.name)],
  );
  const oids = new Map(rows.map((row) => [String(row['label']), Number(row['oid'])]));
  const ended: EndedStream[] = [];
  for (const lane of state.lanes) {
    const mark = state.mark(lane.label);
    if (lane.stopped || mark?.done !== true) continue;
    const oid = oids.get(lane.label);
    const table = published.get(lane.label);
    if (oid === undefined || (mark.oid !== undefined && mark.oid !== oid)) {
      ended.push({ lane, error: streamGone(lane.label) });
    } else {
      const what = unpublished(table, mark.published);
      if (what !== null) ended.push({ lane, error: publicationError(lane.label, what) });
    }
  }
  return ended;
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
