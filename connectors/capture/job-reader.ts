import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import type {
  SourceBatch,
  SourceProgress,
  SourceReader,
  SourceReadOptions,
  SourceState,
  StreamProgress,
} from '../spi/source.ts';
import { StreamLane, stopsStreamOnly } from './event-writer.ts';
import { Handover } from './handover.ts';
import { Outbox } from './outbox.ts';
import { ReadMarks } from './read-marks.ts';
import { StreamReading, type ReadingRoom } from './stream-reading.ts';

/** A connector's part of a job's read. */
export interface JobSource<Cursor> {
  /** Reads one stream from `reading.begin` to `reading.end`. */
  read(reading: StreamReading<Cursor>, told: ReadProgress): Promise<void>;
  /** Ends a read under way, and lets go of the connections. */
  close(): Promise<void>;
}

/** What a connector tells of a stream while it reads it. */
export interface ReadProgress {
  estimate(rows: number | null): void;
  say(text: string | undefined): void;
}

/** What a batch stands for: a state to commit, a transaction to give up, or nothing yet. */
type Seal = SourceState | 'unfinished' | 'discard';

interface Told {
  reading: StreamReading<unknown>;
  phase: StreamProgress['phase'];
  estimate: number | null;
  error?: PipelineError;
}

/**
 * Reads a job's streams one after the other and ends. Each is committed by itself, with the state
 * that says how far it came; one that cannot be read leaves nothing of what it had not committed,
 * and the others are read all the same.
 */
export class JobReader<Cursor> implements SourceReader {
  private readonly source: JobSource<Cursor>;
  private readonly marks: ReadMarks<Cursor>;
  private readonly outbox: Outbox<Seal>;
  private readonly handover: Handover;
  private readonly streams: Told[] = [];
  private readThrough: string;
  private waitingFor: string | undefined;
  /** Something of the open transaction has been handed over. */
  private isOpen = false;
  private ended = false;

  constructor(
    options: SourceReadOptions,
    origin: { readonly connector: string; readonly database: string },
    source: JobSource<Cursor>,
  ) {
    this.source = source;
    this.outbox = new Outbox(options.buffers);
    this.marks = new ReadMarks<Cursor>(options);
    this.readThrough = options.state?.position ?? '';
    this.handover = new Handover({
      ready: () => this.outbox.ready || this.ended,
      take: () => this.take(),
      letGo: () => this.source.close(),
    });
    const { serverName } = options;
    const room: ReadingRoom<Cursor> = {
      open: options,
      outbox: this.outbox,
      marks: this.marks,
      commit: () => this.commit(),
      pass: () => this.pass(),
      taken: this.handover.taken,
    };
    for (const each of options.streams) {
      const lane = new StreamLane(each.stream, 1, { ...origin, serverName });
      const phase = this.marks.isRead(lane.label) ? 'read' : 'pending';
      this.streams.push({ reading: new StreamReading(each, lane, room), phase, estimate: null });
    }
    options.signal.addEventListener('abort', () => void this.close(), { once: true });
    void this.run();
    if (options.signal.aborted) void this.close();
  }

  private async run(): Promise<void> {
    try {
      for (const each of this.streams) if (each.phase === 'pending') await this.readOrStop(each);
      if (this.marks.isDue) await this.commit();
      this.waitingFor = undefined;
      this.ended = true;
      this.handover.wake();
    } catch (error) {
      this.handover.fail(toPipelineError(error));
    }
  }

  private async readOrStop(each: Told): Promise<void> {
    each.phase = 'snapshot';
    try {
      await this.source.read(each.reading as StreamReading<Cursor>, {
        estimate: (rows) => {
          each.estimate = rows;
        },
        say: (text) => {
          this.waitingFor = text;
        },
      });
      each.phase = 'read';
    } catch (thrown) {
      const error = toPipelineError(thrown);
      if (!endsStreamOnly(error)) throw error;
      each.reading.rollback();
      await this.discard();
      each.phase = 'stopped';
      each.error = error;
    }
  }

  private pass(): void {
    this.outbox.seal('unfinished', false);
    this.handover.wake();
  }

  /** Ends the Kafka transaction, and waits until `next` has handed it over. */
  private async commit(): Promise<void> {
    this.outbox.seal(this.marks.toState(), true);
    const taken = this.handover.taken();
    this.handover.wake();
    await taken;
  }

  /** Forgets what no state stands behind. */
  private async discard(): Promise<void> {
    this.outbox.discardUnsealed();
    const waiting = this.outbox.take();
    if (waiting !== null) this.outbox.recycle(waiting.parts);
    if (!this.isOpen) return;
    this.outbox.seal('discard', true);
    const taken = this.handover.taken();
    this.handover.wake();
    await taken;
  }

  async next(): Promise<SourceBatch | null> {
    const batch = await this.handover.next();
    return batch === END ? null : batch;
  }

  private take(): SourceBatch {
    const taken = this.outbox.take();
    if (taken === null) return END;
    const { mark, parts, records, bytes } = taken;
    const common = { parts, records, bytes, committedAtMs: 0 };
    if (mark === 'discard') {
      this.isOpen = false;
      return { ...common, state: null, discards: true };
    }
    this.isOpen = mark === 'unfinished';
    if (mark === 'unfinished') return { ...common, state: null };
    this.readThrough = mark.position;
    return { ...common, state: mark };
  }

  acknowledge(batch: SourceBatch): void {
    this.outbox.recycle(batch.parts);
  }

  progress(): SourceProgress {
    return {
      phase: this.ended ? 'read' : 'snapshot',
      streams: this.streams.map(({ reading, phase, estimate, error }) => ({
        stream: reading.lane.stream,
        phase,
        rowsDone: reading.rows,
        rowsEstimate: estimate,
        ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
      })),
      readThrough: this.readThrough,
      lagBytes: 0,
      ...(this.waitingFor === undefined ? {} : { waitingFor: this.waitingFor }),
    };
  }

  close(): Promise<void> {
    return this.handover.close();
  }
}

/** Handed over by nobody: says that there is nothing more. */
const END: SourceBatch = { parts: [], state: null, records: 0, bytes: 0, committedAtMs: 0 };

function endsStreamOnly(error: PipelineError): boolean {
  return (
    stopsStreamOnly(error) ||
    error.code === 'SRC_PRIVILEGE' ||
    error.code === 'SRC_COLUMN_UNUSABLE' ||
    error.code === 'SRC_REFRESH_EMPTY' ||
    error.code === 'SRC_IDENTITY_CHANGED'
  );
}
