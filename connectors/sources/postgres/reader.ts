import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type {
  SourceBatch,
  SourceOpenOptions,
  SourceProgress,
  SourceReader,
} from '../../spi/source.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { Capture } from './capture.ts';
import { CaptureState, type Mark, type ServerIdentity } from './capture-state.ts';
import { streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import { TypeRegistry } from './column-types.ts';
import { captureOf, parseConfig, type CaptureConfig } from './config.ts';
import { checkContinuity, checkSlot } from './continuity.ts';
import { classify } from './errors.ts';
import { StreamLane } from '../../capture/event-writer.ts';
import { Handover } from '../../capture/handover.ts';
import { Outbox } from '../../capture/outbox.ts';
import { wantedCopies } from '../../capture/wanted-copies.ts';
import { detailsOf, lsnOfText, lsnText } from './position.ts';
import { ensurePublished, publishedTables, unpublishable } from './publication.ts';
import { connect, SideSession } from './session.ts';
import { dropSlot, readSlot } from './slot.ts';
import { findEnded } from './stream-watch.ts';

/** Hands over what the capture produces. */
export class PostgresReader implements SourceReader {
  private readonly outbox: Outbox<Mark>;
  private readonly state: CaptureState;
  private readonly capture: Capture;
  private readonly handover: Handover;

  constructor(parts: Omit<ConstructorParameters<typeof Capture>[0], 'outbox' | 'wake' | 'taken'>) {
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

  acknowledge(batch: SourceBatch): void {
    if (batch.state !== null) this.capture.acknowledge(lsnOfText(batch.state.position));
    this.outbox.recycle(batch.parts);
  }

  progress(): SourceProgress {
    const { capture } = this;
    const { readThrough } = capture;
    const lag = capture.serverEnd - readThrough;
    return {
      phase: capture.phase,
      streams: this.state.progress(),
      readThrough: lsnText(readThrough),
      lagBytes: lag > 0n ? Number(lag) : 0,
      ...(capture.waitingFor === undefined ? {} : { waitingFor: capture.waitingFor }),
    };
  }

  close(): Promise<void> {
    return this.handover.close();
  }
}

/** Checks that the log can be continued, publishes new streams where asked to, and starts. */
export async function openReader(options: SourceOpenOptions): Promise<PostgresReader> {
  const config = parseConfig(options.config);
  const capture = captureOf(config);
  const sql = new SideSession(config, 'side');
  try {
    const identity = await identify(options, config);
    const lanes = lanesOf(options, config.database);
    const before = storedBefore(options);
    const copies = wantedCopies(options.streams, lanes, before);
    const stored = copies.afresh ? null : (before?.details ?? null);
    const position = copies.afresh ? null : (before?.position ?? null);
    const state = new CaptureState({
      epoch: copies.epoch,
      slot: capture.slot,
      publication: capture.publication,
      identity,
      anchor: stored?.anchor ?? { lsn: lsnText(0n), xid: 0, tsUs: 0 },
      lanes,
      marks: copies.marks,
    });
    const tables = await tablesNamed(
      sql,
      lanes.map((lane) => lane.stream),
    );
    // All log that the old slot keeps is behind the new copies; one that is stuck or lost would only
    // be in their way.
    if (copies.afresh && capture.create) await dropSlot(sql, capture.slot);
    if (stored === null || position === null) await checkFirstStart(sql, capture);
    else await checkContinuity(sql, capture, identity, stored, position);
    await admitStreams(sql, capture, state, tables, position);
    return new PostgresReader({
      config,
      capture,
      open: options,
      sql,
      state,
      tables,
      published: await publishedTables(sql, capture),
      position,
      chunk: stored?.chunk ?? null,
    });
  } catch (error) {
    await sql.close();
    throw toPipelineError(error);
  }
}

function lanesOf({ serverName, streams }: SourceOpenOptions, database: string): StreamLane[] {
  const origin = { connector: 'postgres', serverName, database };
  return streams.map(({ stream, partitions }) => new StreamLane(stream, partitions, origin));
}

function storedBefore({ state }: SourceOpenOptions) {
  if (state === null) return null;
  const details = detailsOf(state);
  return {
    epoch: state.epoch,
    marks: details.streams,
    details,
    position: lsnOfText(state.position),
  };
}

async function identify(
  options: SourceOpenOptions,
  config: ReturnType<typeof parseConfig>,
): Promise<ServerIdentity> {
  const client = await connect(config, {
    replication: true,
    purpose: `source ${options.sourceId}`,
  });
  try {
    const { rows } = await client.query<Record<string, unknown>>('IDENTIFY_SYSTEM');
    return { systemId: String(rows[0]?.['systemid']), timeline: Number(rows[0]?.['timeline']) };
  } catch (error) {
    throw classify(error, 'identifying the server');
  } finally {
    await client.end().catch(() => {});
  }
}

async function checkFirstStart(sql: SideSession, capture: CaptureConfig): Promise<void> {
  const slot = await readSlot(sql, capture.slot);
  if (slot !== null) return checkSlot(capture.slot, slot, null);
  if (capture.create) return;
  throw new PipelineError(
    'SRC_SLOT_MISSING',
    `replication slot ${capture.slot} does not exist; run: ` +
      `SELECT pg_create_logical_replication_slot('${capture.slot}', 'pgoutput')`,
    { details: { slot: capture.slot } },
  );
}

/** Stops the streams that cannot go on, and sees that new ones are published. */
async function admitStreams(
  sql: SideSession,
  capture: CaptureConfig,
  state: CaptureState,
  tables: ReadonlyMap<string, TableFacts>,
  position: bigint | null,
): Promise<void> {
  const at = position ?? 0n;
  for (const { lane, error } of await findEnded(sql, capture, state, new TypeRegistry(sql))) {
    state.stop(lane.label, error, lsnText(at));
  }
  const fresh: TableFacts[] = [];
  for (const lane of state.uncopied) {
    const table = tables.get(lane.label);
    if (table === undefined) state.stop(lane.label, streamGone(lane.label), lsnText(at));
    else fresh.push(table);
  }
  const failures = await unpublishable(sql, capture, fresh);
  for (const [label, error] of failures) state.stop(label, error, lsnText(at));
  const able = fresh.filter((table) => !failures.has(streamLabel(table.stream)));
  if (able.length > 0 || position === null) {
    await ensurePublished(sql, capture, able, position === null);
  }
}
