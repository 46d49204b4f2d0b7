import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/**
 * Every metric there is. Names are `headrace_<area>_<what>_<unit>`; labels are names of configured
 * things (connection, source, stream, connector), never a key or a job, so that the number of
 * series is bounded by the configuration.
 */
export const metricsRegistry = new Registry();
const registers = [metricsRegistry];
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export const metrics = {
  capturedRecords: new Counter({
    name: 'headrace_source_captured_records_total',
    help: 'Change events committed to Kafka.',
    labelNames: ['source', 'connector'] as const,
    registers,
  }),
  capturedBytes: new Counter({
    name: 'headrace_source_captured_bytes_total',
    help: 'Bytes of change events committed to Kafka, before compression.',
    labelNames: ['source', 'connector'] as const,
    registers,
  }),
  sourceLagBytes: new Gauge({
    name: 'headrace_source_lag_bytes',
    help: "Log between the source's newest position and what is committed to Kafka.",
    labelNames: ['source', 'connector'] as const,
    registers,
  }),
  sourceLagSeconds: new Gauge({
    name: 'headrace_source_lag_seconds',
    help: 'Age of the newest change committed to Kafka while the source is behind; 0 when it is not.',
    labelNames: ['source', 'connector'] as const,
    registers,
  }),
  snapshotRowsDone: new Gauge({
    name: 'headrace_snapshot_done_rows',
    help: 'Rows of the first copy of a stream that have been read.',
    labelNames: ['source', 'stream'] as const,
    registers,
  }),
  snapshotRowsEstimate: new Gauge({
    name: 'headrace_snapshot_estimate_rows',
    help: "The source's own guess of the rows of a stream.",
    labelNames: ['source', 'stream'] as const,
    registers,
  }),
  deliveredRecords: new Counter({
    name: 'headrace_sink_delivered_records_total',
    help: 'Change events durable in the destination.',
    labelNames: ['connection', 'stream', 'connector'] as const,
    registers,
  }),
  deliveredBytes: new Counter({
    name: 'headrace_sink_delivered_bytes_total',
    help: 'Bytes of change events durable in the destination, as they lie in Kafka.',
    labelNames: ['connection', 'stream', 'connector'] as const,
    registers,
  }),
  nulledValues: new Counter({
    name: 'headrace_sink_nulled_values_total',
    help: 'Values that their column in the destination cannot hold, NULL there and recorded in _airbyte_meta.',
    labelNames: ['connection', 'stream', 'connector', 'field'] as const,
    registers,
  }),
  fileBytes: new Histogram({
    name: 'headrace_sink_file_bytes',
    help: 'Sizes of the Parquet files uploaded.',
    labelNames: ['connection', 'stream'] as const,
    buckets: [2 ** 14, 2 ** 17, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 25, 2 ** 26, 2 ** 27, 2 ** 28],
    registers,
  }),
  sinkLagRecords: new Gauge({
    name: 'headrace_sink_lag_records',
    help: 'Offsets in the topics that are not durable in the destination yet.',
    labelNames: ['connection', 'stream', 'connector'] as const,
    registers,
  }),
  sinkLagSeconds: new Gauge({
    name: 'headrace_sink_lag_seconds',
    help: 'Age of the newest durable change while the sink is behind; 0 when it is not.',
    labelNames: ['connection', 'stream', 'connector'] as const,
    registers,
  }),
  errors: new Counter({
    name: 'headrace_errors_total',
    help: 'Failures met, by their code in docs/errors.md.',
    labelNames: ['code'] as const,
    registers,
  }),
  transactionSeconds: new Histogram({
    name: 'headrace_kafka_transaction_seconds',
    help: 'Time from the first record of a Kafka transaction to its commit.',
    labelNames: ['source'] as const,
    buckets: seconds,
    registers,
  }),
  writeSeconds: new Histogram({
    name: 'headrace_sink_write_seconds',
    help: 'Time of one write of batches to the destination.',
    labelNames: ['connection', 'connector'] as const,
    buckets: seconds,
    registers,
  }),
  sourceDelaySeconds: new Histogram({
    name: 'headrace_source_delay_seconds',
    help: "Time from the newest commit in a Kafka transaction, by the source's clock, to that transaction's commit.",
    labelNames: ['source'] as const,
    buckets: seconds,
    registers,
  }),
  sinkDelaySeconds: new Histogram({
    name: 'headrace_sink_delay_seconds',
    help: "Time from the newest commit in a write to the destination, by the source's clock, to the end of that write.",
    labelNames: ['connection', 'connector'] as const,
    buckets: seconds,
    registers,
  }),
  behindSeconds: new Gauge({
    name: 'headrace_connection_behind_seconds',
    help: 'How far an active connection is behind its source; since the last sync that succeeded when it runs by a schedule.',
    labelNames: ['connection'] as const,
    registers,
  }),
  retainedLogBytes: new Gauge({
    name: 'headrace_source_retained_log_bytes',
    help: "Log that a source's server keeps for us, read or not.",
    labelNames: ['source'] as const,
    registers,
  }),
  notifications: new Counter({
    name: 'headrace_notification_attempts_total',
    help: 'Attempts to deliver an alert, by how they ended.',
    labelNames: ['type', 'outcome'] as const,
    registers,
  }),
  jobs: new Counter({
    name: 'headrace_job_ended_total',
    help: 'Sync jobs that ended, by how.',
    labelNames: ['connection', 'status'] as const,
    registers,
  }),
} as const;

/** Of a moment by another machine's clock, which may be ahead of ours. */
export function secondsSince(ms: number): number {
  return Math.max(0, (Date.now() - ms) / 1000);
}

/** Memory, event loop and garbage collection of the process; called once by the program. */
export function collectProcessMetrics(): void {
  collectDefaultMetrics({ register: metricsRegistry, prefix: 'headrace_' });
}

/** The text of `GET /metrics`. */
export function exposition(): Promise<string> {
  return metricsRegistry.metrics();
}
