import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import { metrics, secondsSince } from '../../core/observe/metrics.ts';
import type { ReportedError, SourceReport } from '../../core/store/work.ts';
import type { SourceBatch, SourceProgress, SourceReader } from '../../connectors/spi/source.ts';
import type { CaptureTask } from './capture-task.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import { CaptureStages } from './capture-stages.ts';

/** Handed over and not committed yet. */
const NOTHING = { records: 0, bytes: 0, newestMs: 0 };

/** What a source's runner tells the control plane and the metrics: counts, lag, progress, errors. */
export class SourceStatus {
  private readonly task: CaptureTask;
  private readonly labels: { source: string; connector: string };
  private readonly stages = new CaptureStages();
  private readonly stoppedAt = new Map<string, number>();
  private records = 0;
  private bytes = 0;
  private lastCommitMs = 0;
  private capturedThrough: string | null = null;
  private progress: SourceProgress | null = null;
  private error: ReportedError | undefined;
  private reader: SourceReader | null = null;
  private inFlight = false;
  private pending = NOTHING;

  constructor(task: CaptureTask) {
    this.task = task;
    this.labels = { source: task.owner, connector: task.connector };
  }

  /** A reader is open; its progress is what is reported from now on. */
  reading(reader: SourceReader): void {
    this.reader = reader;
    this.inFlight = false;
    this.pending = NOTHING;
    this.error = undefined;
  }

  /** Nothing is left to be read, and none of the time to come is spent. */
  rests(): void {
    this.stages.enter(null);
  }

  entered(stage: 'read' | 'kafka'): void {
    this.stages.enter(stage);
  }

  /** `next` has handed a batch over that is not committed yet; it may be one of several in a
   * transaction. */
  handedOver(batch: SourceBatch): void {
    this.inFlight = true;
    const { records, bytes, newestMs } = this.pending;
    this.pending = {
      records: records + batch.records,
      bytes: bytes + batch.bytes,
      // A position alone, of an idle source, repeats the time of a commit long ago.
      newestMs: batch.records > 0 ? batch.committedAtMs : newestMs,
    };
    if (batch.committedAtMs > 0) this.lastCommitMs = batch.committedAtMs;
  }

  /** Everything handed over is committed. */
  committed(seconds: number): void {
    const { records, bytes, newestMs } = this.pending;
    this.inFlight = false;
    this.pending = NOTHING;
    this.records += records;
    this.bytes += bytes;
    metrics.capturedRecords.inc(this.labels, records);
    metrics.capturedBytes.inc(this.labels, bytes);
    const labels = { source: this.task.owner };
    metrics.transactionSeconds.observe(labels, seconds);
    if (newestMs > 0) metrics.sourceDelaySeconds.observe(labels, secondsSince(newestMs));
  }

  /** What was handed over and not committed was given up. */
  discarded(): void {
    this.inFlight = false;
    this.pending = NOTHING;
  }

  failed(error: PipelineError): void {
    this.reader = null;
    this.stages.enter(null);
    this.error = { code: error.code, message: error.message, at: Date.now() };
    metrics.errors.inc({ code: error.code });
  }

  report(): SourceReport {
    this.observe();
    const { progress } = this;
    return {
      kind: 'source',
      id: this.task.id,
      version: this.task.version,
      phase: this.error === undefined ? (progress?.phase ?? 'connecting') : 'failed',
      capturedThrough: this.capturedThrough,
      lagBytes: progress?.lagBytes ?? 0,
      lagMs: progress === null ? 0 : this.lagMs(progress),
      records: this.records,
      bytes: this.bytes,
      streams: (progress?.streams ?? []).map((stream) => ({
        ...stream.stream,
        phase: stream.phase,
        rowsDone: stream.rowsDone,
        rowsEstimate: stream.rowsEstimate,
        ...(stream.error === undefined
          ? {}
          : { error: { ...stream.error, at: this.stopTime(streamLabel(stream.stream)) } }),
      })),
      stageMs: this.stages.totals(),
      ...(this.error === undefined ? {} : { error: this.error }),
      ...(progress?.waitingFor === undefined ? {} : { waitingFor: progress.waitingFor }),
    };
  }

  /** What the reader has read through counts as captured only while nothing of it is in flight. */
  private observe(): void {
    if (this.reader === null) return;
    const progress = this.reader.progress();
    this.progress = progress;
    if (!this.inFlight) this.capturedThrough = progress.readThrough;
    metrics.sourceLagBytes.set(this.labels, progress.lagBytes);
    metrics.sourceLagSeconds.set(this.labels, this.lagMs(progress) / 1000);
    for (const stream of progress.streams) {
      const labels = { source: this.task.owner, stream: streamLabel(stream.stream) };
      metrics.snapshotRowsDone.set(labels, stream.rowsDone);
      if (stream.rowsEstimate !== null) {
        metrics.snapshotRowsEstimate.set(labels, stream.rowsEstimate);
      }
    }
  }

  private lagMs(progress: SourceProgress): number {
    if (progress.lagBytes === 0 || this.lastCommitMs === 0) return 0;
    return Math.max(0, Date.now() - this.lastCommitMs);
  }

  private stopTime(label: string): number {
    const known = this.stoppedAt.get(label) ?? Date.now();
    this.stoppedAt.set(label, known);
    return known;
  }
}
