import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { StreamLane } from '../../capture/event-writer.ts';
import { Handover } from '../../capture/handover.ts';
import { Outbox } from '../../capture/outbox.ts';
import { wantedCopies } from '../../capture/wanted-copies.ts';
import type {
  SourceBatch,
  SourceOpenOptions,
  SourceProgress,
  SourceReader,
} from '../../spi/source.ts';
import { Capture, type CaptureParts } from './capture.ts';
import { streamGone, tablesNamed } from './catalog.ts';
import { parseConfig } from './config.ts';
import { checkContinuity } from './continuity.ts';
import { marksOnNewServer } from './failover.ts';
import { GtidSet } from './gtid-set.ts';
import { CaptureState, detailsOf, placeOfText, placeText, type Mark } from './position.ts';
import { ReadElsewhere } from './read-elsewhere.ts';
import { logStatus, missingSettings, readServer, serverTraits } from './server.ts';
import { SideSession } from './session.ts';

/** Hands over what the capture produces. */
export class MysqlReader implements SourceReader {
  private readonly outbox: Outbox<Mark>;
  private readonly state: CaptureState;
  private readonly capture: Capture;
  private readonly handover: Handover;

  constructor(parts: Omit<CaptureParts, 'outbox' | 'wake' | 'taken'>) {
    this.outbox = new Outbox(parts.open.buffers);
    this.state = parts.state;
    this.handover = new Handover({
      ready: () => this.outbox.ready,
      take: () => this.take(),
      letGo: () => this.capture.close(),
    });
    const { wake, taken, fail } = this.handover;
    this.capture = new Capture({ ...parts, outbox: this.outbox, wake, taken }, fail);
    parts.open.signal.addEventListener('abort', () => void this.close(), { once: true });
    void this.capture.run();
    if (parts.open.signal.aborted) void this.close();
  }

  next(): Promise<SourceBatch | null> {
    return this.handover.next();
  }

  private take(): SourceBatch {
    const taken = this.outbox.take();
    if (taken === null) throw new Error('nothing is sealed');
    const { mark, parts, records, bytes } = taken;
    const position = mark === 'unfinished' ? null : mark.position;
    const state = mark === 'unfinished' ? null : this.state.at(mark);
    if (state !== null) this.state.dirty = false;
    this.capture.afterTake(position);
    const committedAtMs = mark === 'unfinished' ? 0 : mark.committedAtMs;
    return { parts, state, records, bytes, committedAtMs };
  }

  /** The server keeps its log by time, not for us: there is nothing to tell it. */
  acknowledge(batch: SourceBatch): void {
    this.outbox.recycle(batch.parts);
  }

  progress(): SourceProgress {
    const { capture } = this;
    const { readThrough } = capture;
    const lag = capture.serverEnd - readThrough;
    return {
      phase: capture.phase,
      streams: this.state.progress(),
      readThrough: placeText(readThrough),
      // Files before the newest one are counted as empty: their sizes are not known here.
      lagBytes: lag > 0n ? Number(lag & 0xffffffffn) : 0,
      ...(capture.waitingFor === undefined ? {} : { waitingFor: capture.waitingFor }),
    };
  }

  close(): Promise<void> {
    return this.handover.close();
  }
}

/** Checks that the log can be continued and carries what is needed, and starts. */
export async function openReader(options: SourceOpenOptions): Promise<MysqlReader> {
  const config = parseConfig(options.config);
  if (!config.capture) {
    throw new PipelineError(
      'CFG_INVALID_CONNECTOR',
      'replication_method.method: must be CDC for streams that are read continuously',
      { details: { field: 'replication_method.method' } },
    );
  }
  const sql = new SideSession(config);
  try {
    const server = await readServer(sql);
    const missing = missingSettings(server);
    if (missing.length > 0) throw new PipelineError('SRC_SERVER_SETTING', missing.join('; '));
    const { lanes, copies, stored, position } = standing(options, config.database);
    const start =
      stored === null || position === null
        ? null
        : await checkContinuity(sql, server, stored, position);
    const moved = start?.moved === true;
    const elsewhere = start?.elsewhere ?? null;
    const state = new CaptureState({
      epoch: copies.epoch + (moved ? 1 : 0),
      server: server.identity,
      base: (await logStatus((text) => sql.query(text))).base,
      gtids: new GtidSet(server.mariadb, stored?.gtids ?? ''),
      anchor: moved ? null : (stored?.anchor ?? null),
      elsewhere: elsewhere === null ? null : new ReadElsewhere(server.mariadb, elsewhere),
      prepared: new Map(
        Object.entries(stored?.prepared ?? {}).map(([xid, place]) => [xid, moved ? '' : place]),
      ),
      lanes,
      marks: moved ? marksOnNewServer(copies.marks, position ?? 0n) : copies.marks,
    });
    const chunk = stored?.chunk ?? null;
    await admitStreams(sql, state, start?.position ?? 0n);
    return new MysqlReader({
      config,
      ...serverTraits(server),
      open: options,
      sql,
      state,
      start,
      chunk,
    });
  } catch (error) {
    await sql.close();
    throw toPipelineError(error);
  }
}

/** What of the stored state holds, given the copies that are wanted now: nothing of it when every
 * stream is to be copied anew, for then the log need not go on from where it was. */
function standing(options: SourceOpenOptions, database: string) {
  const origin = { connector: 'mysql', serverName: options.serverName, database };
  const lanes = options.streams.map(
    ({ stream, partitions }) => new StreamLane(stream, partitions, origin),
  );
  const { state } = options;
  const details = state === null ? null : detailsOf(state);
  const before =
    state === null || details === null ? null : { epoch: state.epoch, marks: details.streams };
  const copies = wantedCopies(options.streams, lanes, before);
  const goesOn = state !== null && !copies.afresh;
  return {
    lanes,
    copies,
    stored: goesOn ? details : null,
    position: goesOn ? placeOfText(state.position) : null,
  };
}

/** A table that is not there cannot be copied; what was copied ends where the log drops it. */
async function admitStreams(sql: SideSession, state: CaptureState, at: bigint): Promise<void> {
  const fresh = state.uncopied;
  if (fresh.length === 0) return;
  const tables = await tablesNamed(
    sql,
    fresh.map((lane) => lane.stream),
  );
  for (const lane of fresh) {
    if (!tables.has(lane.label)) state.stop(lane.label, streamGone(lane.label), placeText(at));
  }
}
