import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import { metrics, secondsSince } from '../../core/observe/metrics.ts';
import { StageClock } from '../../core/run/stage-clock.ts';
import type { FieldTransform } from '../../core/store/field-transforms.ts';
import type {
  ConnectionReport,
  ConnectionStreamReport,
  ConnectionWork,
  NamedStream,
  PartitionReport,
  ReportedError,
} from '../../core/store/work.ts';
import type {
  ChangeBatch,
  DestinationWriter,
  PartitionTarget,
  SchemaLookup,
} from '../../connectors/spi/destination.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import { ChangeCursor } from '../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import type { SchemaGate } from './schema-gate.ts';

interface Accepted {
  readonly nextOffset: number;
  readonly records: number;
  readonly bytes: number;
  readonly watermarkMs: number;
}

interface PartitionFigures {
  readonly target: PartitionTarget;
  /** Accepted and not yet durable, oldest first. */
  readonly accepted: Accepted[];
  consumed: number;
  end: number;
}

interface StreamFigures {
  records: number;
  bytes: number;
  emittedRecords: number;
  emittedBytes: number;
  watermarkMs: number;
  nulledValues?: Readonly<Record<string, number>>;
  error?: ReportedError;
}

/** What a connection's delivery tells the control plane and the metrics. A record counts once it is
 * durable in the destination, not when it is accepted. */
export class DeliveryStatus {
  private readonly work: ConnectionWork;
  private readonly schemas: SchemaLookup;
  private readonly cursor = new ChangeCursor();
  private readonly streams = new Map<string, StreamFigures>();
  private partitions = new Map<string, PartitionFigures>();
  private readonly stages = new StageClock(['kafka', 'write']);
  private writingLanes = 0;
  private writer: DestinationWriter | null = null;
  /** In the order of the work's streams. */
  private gates: readonly SchemaGate[] = [];
  private error: ReportedError | undefined;
  /** What delivery waits for without having failed. */
  private trouble: ReportedError | undefined;

  constructor(work: ConnectionWork, schemas: SchemaLookup) {
    this.work = work;
    this.schemas = schemas;
    for (const stream of work.streams) {
      this.streams.set(streamLabel(stream), {
        records: 0,
        bytes: 0,
        emittedRecords: 0,
        emittedBytes: 0,
        watermarkMs: 0,
      });
    }
  }

  delivering(writer: DestinationWriter, gates: readonly SchemaGate[]): void {
    this.writer = writer;
    this.gates = gates;
    this.partitions = new Map();
    this.error = undefined;
    this.trouble = undefined;
    this.writingLanes = 0;
    this.stages.enter('kafka');
  }

  /** While any lane writes, the time is the destination's; else it is spent waiting for Kafka. */
  writing(isBusy: boolean): void {
    // A lane of an attempt that has failed may end after the next one began.
    this.writingLanes = Math.max(0, this.writingLanes + (isBusy ? 1 : -1));
    this.stages.enter(this.writingLanes > 0 ? 'write' : 'kafka');
  }

  opened(target: PartitionTarget, nextOffset: number): void {
    delete this.figures(target).error;
    this.partitions.set(partitionKey(target), {
      target,
      accepted: [],
      consumed: nextOffset,
      end: nextOffset,
    });
  }

  /** The newest offset readers may see of a partition, as last heard. */
  heard(target: PartitionTarget, end: number): void {
    const partition = this.partitions.get(partitionKey(target));
    if (partition !== undefined) partition.end = end;
  }

  written(batches: readonly ChangeBatch[], seconds: number): void {
    const labels = { connection: this.work.connectionId, connector: this.work.connector };
    metrics.writeSeconds.observe(labels, seconds);
    let newestMs = 0;
    for (const batch of batches) {
      const partition = this.partitions.get(partitionKey(batch.target));
      if (partition === undefined) continue;
      partition.consumed = batch.nextOffset;
      const accepted = this.measure(batch);
      partition.accepted.push(accepted);
      const figures = this.figures(batch.target);
      figures.emittedRecords += accepted.records;
      figures.emittedBytes += accepted.bytes;
      newestMs = Math.max(newestMs, accepted.watermarkMs);
    }
    if (newestMs > 0) metrics.sinkDelaySeconds.observe(labels, secondsSince(newestMs));
  }

  /** Values of a stream that are NULL in the destination because they do not fit, by field. */
  nulled(label: string, counts: ReadonlyMap<string, number>): void {
    const stream = this.streams.get(label);
    const { connectionId: connection, connector } = this.work;
    for (const [field, values] of counts) {
      metrics.nulledValues.inc({ connection, connector, stream: label, field }, values);
      if (stream === undefined) continue;
      const before = stream.nulledValues?.[field] ?? 0;
      stream.nulledValues = { ...stream.nulledValues, [field]: before + values };
    }
  }

  streamStopped(label: string, error: PipelineError): void {
    const stream = this.streams.get(label);
    metrics.errors.inc({ code: error.code });
    if (stream !== undefined) stream.error = reported(error);
  }

  /** Null: no longer. */
  waitsFor(trouble: PipelineError | null): void {
    if (trouble !== null) metrics.errors.inc({ code: trouble.code });
    this.trouble = trouble === null ? undefined : reported(trouble);
  }

  failed(error: PipelineError): void {
    this.writer = null;
    this.stages.enter(null);
    metrics.errors.inc({ code: error.code });
    this.error = reported(error);
  }

  report(): ConnectionReport {
    if (this.writer !== null) this.observe(this.writer);
    const error = this.error ?? this.trouble;
    return {
      kind: 'connection',
      id: this.work.connectionId,
      version: this.work.version,
      phase:
        this.error === undefined ? (this.writer === null ? 'connecting' : 'running') : 'failed',
      partitions: [...this.partitions.values()].map((p) => this.partitionReport(p)),
      streams: this.work.streams.map((s, i) => this.streamReport(s, this.gates[i]?.changes ?? [])),
      stageMs: this.stages.totals(),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** The replays whose events are durable. */
  replayed(): (NamedStream & { readonly replay: string })[] {
    const { writer } = this;
    if (writer === null) return [];
    return this.work.streams.flatMap(({ namespace, name, replay }) => {
      if (replay === undefined) return [];
      const label = streamLabel({ namespace, name });
      const targets = [...this.partitions.values()]
        .map(({ target }) => target)
        .filter(({ stream }) => streamLabel(stream.stream) === label);
      const isDone = targets.every(
        (target) =>
          target.replay !== undefined && writer.durableOffset(target) >= target.replay.until,
      );
      return isDone && targets.length > 0 ? [{ namespace, name, replay: replay.id }] : [];
    });
  }

  private measure(batch: ChangeBatch): Accepted {
    const { keyStarts, keyEnds, valueStarts, valueEnds, bytes, count } = batch.records;
    let records = 0;
    let size = 0;
    let last = -1;
    for (let i = 0; i < count; i++) {
      const start = valueStarts[i] as number;
      if (start < 0) continue;
      last = i;
      // A mark is no row: its key is an empty record.
      const isMark = (keyEnds[i] as number) - (keyStarts[i] as number) === WIRE_HEADER_BYTES;
      if (isMark && keyStarts[i] !== -1) continue;
      records++;
      size += (valueEnds[i] as number) - start;
    }
    const { nextOffset } = batch;
    if (last < 0) return { nextOffset, records, bytes: size, watermarkMs: 0 };
    const start = valueStarts[last] as number;
    const end = valueEnds[last] as number;
    const schema = this.schemas.value(schemaIdAt(bytes, start, end));
    if (schema !== undefined) this.cursor.decode(schema, bytes, start, end);
    const watermarkMs = schema === undefined ? 0 : Math.floor(this.cursor.tsUs / 1000);
    return { nextOffset, records, bytes: size, watermarkMs };
  }

  /** Moves what has become durable from accepted to counted. */
  private observe(writer: DestinationWriter): void {
    for (const partition of this.partitions.values()) {
      const durable = writer.durableOffset(partition.target);
      const figures = this.figures(partition.target);
      const labels = this.labels(partition.target);
      while (partition.accepted[0] !== undefined && partition.accepted[0].nextOffset <= durable) {
        const done = partition.accepted.shift() as Accepted;
        figures.records += done.records;
        figures.bytes += done.bytes;
        figures.watermarkMs = Math.max(figures.watermarkMs, done.watermarkMs);
        metrics.deliveredRecords.inc(labels, done.records);
        metrics.deliveredBytes.inc(labels, done.bytes);
      }
      const behind = Math.max(0, partition.end - durable);
      metrics.sinkLagRecords.set(labels, behind);
      const lagMs =
        behind === 0 || figures.watermarkMs === 0 ? 0 : Date.now() - figures.watermarkMs;
      metrics.sinkLagSeconds.set(labels, Math.max(0, lagMs / 1000));
    }
  }

  private partitionReport(partition: PartitionFigures): PartitionReport {
    const { topic, partition: number } = partition.target;
    const durable = this.writer?.durableOffset(partition.target) ?? 0;
    return {
      topic,
      partition: number,
      durable,
      consumed: partition.consumed,
      end: Math.max(partition.end, durable),
    };
  }

  private streamReport(
    stream: NamedStream,
    schemaChange: readonly FieldTransform[],
  ): ConnectionStreamReport {
    const { error, ...figures } = this.streams.get(streamLabel(stream)) as StreamFigures;
    return {
      namespace: stream.namespace,
      name: stream.name,
      phase: error === undefined ? 'running' : 'stopped',
      ...figures,
      ...(schemaChange.length === 0 ? {} : { schemaChange }),
      ...(error === undefined ? {} : { error }),
    };
  }

  private figures(target: PartitionTarget): StreamFigures {
    return this.streams.get(streamLabel(target.stream.stream)) as StreamFigures;
  }

  private labels(target: PartitionTarget): {
    connection: string;
    connector: string;
    stream: string;
  } {
    return {
      connection: this.work.connectionId,
      connector: this.work.connector,
      stream: streamLabel(target.stream.stream),
    };
  }
}

export function partitionKey(target: { topic: string; partition: number }): string {
  return `${target.topic}:${target.partition}`;
}

function reported(error: PipelineError): ReportedError {
  return { code: error.code, message: error.message, at: Date.now() };
}
