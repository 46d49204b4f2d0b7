import type { ErrorCode } from '../errors/codes.ts';
import type { FieldTransform, JsonType } from './field-transforms.ts';
import type { SchemaPolicy } from './schema-policy.ts';

/**
 * What passes between the control plane and the workers through the store: the wanted state one way
 * (`Work`), the actual state the other (`reports`). Workers keep going on what they last read when
 * the store is away.
 */

export interface NamedStream {
  readonly namespace: string;
  readonly name: string;
}

/** `copy` names the copy of the table that is wanted; another one than the source has stored with its
 * position means that the stream is to be copied anew. Absent: whichever it has. */
export interface SourceStreamWork extends NamedStream {
  readonly copy?: string;
}

/** A source that at least one active connection reads continuously: one capture for all of them. */
export interface SourceWork {
  readonly sourceId: string;
  readonly sourceName: string;
  /** Folder name of the connector: `postgres`. */
  readonly connector: string;
  readonly config: Record<string, unknown>;
  /** Union of the streams of its active connections. */
  readonly streams: readonly SourceStreamWork[];
  /** Changes when anything above does; a worker restarts the reader then. */
  readonly version: string;
}

/** Where a replay begins: an offset holds for every partition; a time is epoch milliseconds. */
export type ReplayStart = 'beginning' | { readonly offset: number } | { readonly timeMs: number };

/** An order to deliver a stream again from its topic. */
export interface StreamReplayWork {
  readonly id: string;
  readonly start: ReplayStart;
  /** Beside what is there, which it replaces in the end. */
  readonly rebuild: boolean;
}

/** How a job is to read one stream. */
export interface ReadStreamWork extends SourceStreamWork {
  readonly syncMode: 'full_refresh' | 'incremental';
  readonly cursor: string | null;
  readonly primaryKey: readonly string[];
}

/** What an open job of a connection is to read from its source, once, into topics of the connection. */
export interface ReadWork {
  readonly connectionId: string;
  readonly job: number;
  readonly connector: string;
  readonly config: Record<string, unknown>;
  readonly streams: readonly ReadStreamWork[];
  readonly version: string;
}

/** What `capturedThrough` is once a job's read has ended. */
export function jobPosition(job: number): string {
  return String(job).padStart(16, '0');
}

export interface ConnectionStreamWork extends NamedStream {
  /** In its topic's name, behind the prefix: the source's, or the connection where jobs read it. */
  readonly topicOwner: string;
  readonly isReadByJob: boolean;
  readonly destinationNamespace: string | null;
  readonly destinationName: string;
  readonly mode: 'append' | 'append_dedup' | 'overwrite';
  readonly primaryKey: readonly string[];
  readonly replay?: StreamReplayWork;
  /** Columns that the connection's catalog has, as JSON types; null when it does not say. */
  readonly properties: Readonly<Record<string, JsonType>> | null;
  readonly schemaPolicy: SchemaPolicy;
}

/** A connection whose destination is to be fed now. */
export interface ConnectionWork {
  readonly connectionId: string;
  readonly sourceId: string;
  readonly connector: string;
  readonly config: Record<string, unknown>;
  readonly streams: readonly ConnectionStreamWork[];
  /** What its delivery may hold in buffers; absent where only the process's own limit counts. */
  readonly memoryLimitBytes?: number;
  readonly version: string;
}

export interface Work {
  readonly sources: readonly SourceWork[];
  readonly reads: readonly ReadWork[];
  readonly connections: readonly ConnectionWork[];
}

/** Milliseconds spent in each stage since the worker began with this work, the one under way
 * included. `encode` is the part of reading in which the process worked rather than waited. */
export interface SourceStages {
  readonly read: number;
  readonly encode: number;
  readonly kafka: number;
}

export interface DeliveryStages {
  readonly kafka: number;
  readonly write: number;
}

export interface ReportedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly at: number;
}

export interface SourceStreamReport extends NamedStream {
  /** `read`: a job's read of it has ended. */
  readonly phase: 'pending' | 'snapshot' | 'streaming' | 'stopped' | 'read';
  readonly rowsDone: number;
  readonly rowsEstimate: number | null;
  readonly error?: ReportedError;
}

export interface SourceReport {
  readonly kind: 'source';
  readonly id: string;
  readonly phase: 'connecting' | 'snapshot' | 'streaming' | 'read' | 'failed' | 'waiting';
  /** Version of the work it runs, so that a reader can tell a report on newer wishes. */
  readonly version: string;
  /** Everything up to here is committed in the topics. Compare as text. */
  readonly capturedThrough: string | null;
  readonly lagBytes: number;
  readonly lagMs: number;
  readonly records: number;
  readonly bytes: number;
  readonly streams: readonly SourceStreamReport[];
  readonly stageMs?: SourceStages;
  readonly error?: ReportedError;
  readonly waitingFor?: string;
}

export interface PartitionReport {
  readonly topic: string;
  readonly partition: number;
  /** Everything below is durable in the destination. */
  readonly durable: number;
  /** Everything below has been read from the topic and accepted; equals durable when nothing is buffered. */
  readonly consumed: number;
  readonly end: number;
}

export interface ConnectionStreamReport extends NamedStream {
  readonly phase: 'running' | 'stopped';
  readonly records: number;
  readonly bytes: number;
  /** Handed to the destination, durable or not. */
  readonly emittedRecords?: number;
  readonly emittedBytes?: number;
  /** Commit time at the source of the newest durable change, epoch milliseconds; 0 when none. */
  readonly watermarkMs: number;
  /** Values that became NULL because their column cannot hold them, by field; absent while there are none. */
  readonly nulledValues?: Readonly<Record<string, number>>;
  /** How the schema of the records that were met differs from the connection's catalog. */
  readonly schemaChange?: readonly FieldTransform[];
  readonly error?: ReportedError;
}

export interface ConnectionReport {
  readonly kind: 'connection';
  readonly id: string;
  readonly phase: 'connecting' | 'running' | 'failed' | 'waiting';
  readonly version: string;
  readonly partitions: readonly PartitionReport[];
  readonly streams: readonly ConnectionStreamReport[];
  readonly stageMs?: DeliveryStages;
  readonly error?: ReportedError;
}

export type Report = SourceReport | ConnectionReport;

/** An order to a worker, taken once. */
export interface WorkerCommand {
  readonly id: string;
  readonly unit: string;
  readonly kind: 'flush';
  readonly streams: readonly NamedStream[];
}

/** The part of the store that workers use. Units are `source:<id>`, `sync:<connection>` for what its
 * jobs read, and `connection:<id>`. */
export interface WorkStore {
  listWork(): Promise<Work>;
  /** Takes or renews the lease; false while another owner's is alive. Liveness only: whose work
   * counts is decided by fencing in Kafka and by compare-and-set in the destination. */
  acquireLease(unit: string, owner: string, ttlMs: number): Promise<boolean>;
  releaseLease(unit: string, owner: string): Promise<void>;
  /** Refused without a word when another owner's lease on the unit is alive: a process that was stopped,
   * replaced and goes on must not pass its end off as its successor's. */
  saveReport(unit: string, owner: string, report: Report): Promise<void>;
  takeCommands(unit: string): Promise<WorkerCommand[]>;
  /** What a replay was to deliver is durable in the destination. */
  endReplay(connectionId: string, stream: NamedStream & { readonly replay: string }): Promise<void>;
}
