import type { ErrorCode } from '../../core/errors/codes.ts';
import type { BufferAccount } from '../../core/run/memory-budget.ts';
import type { StreamId } from '../../schemas/catalog/stream-id.ts';
import type { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { StreamSchema } from '../../schemas/envelope/stream-schema.ts';
import type { OpenSourceTable } from './comparison.ts';
import type { CheckResult, ConnectorSpec } from './connector.ts';

/** What a source offers to be read. `jsonSchema` is Airbyte's: properties with type, format, airbyte_type. */
export interface DiscoveredStream {
  readonly stream: StreamId;
  readonly jsonSchema: Record<string, unknown>;
  readonly primaryKey: readonly string[];
  readonly supportedSyncModes: readonly ('full_refresh' | 'incremental')[];
  /** True where the source has a log to follow, so that no column has to tell what is new. */
  readonly sourceDefinedCursor: boolean;
  /** Columns whose values grow with every change, so far as their type can tell; for a job's
   * incremental read. Empty where the source has a log. */
  readonly cursors: readonly string[];
  /** The one that is taken when none is named. */
  readonly defaultCursor?: string;
  /** Why the stream cannot be captured as it is, and the statement that mends it. */
  readonly warning?: string;
}

/**
 * Where a source stands: everything a restart needs, stored in the same Kafka transaction as the
 * events before it. `position` is ordered as text; `details` is the connector's own, plain JSON.
 */
export interface SourceState {
  readonly position: string;
  readonly epoch: number;
  readonly details: Record<string, unknown>;
}

/** Encoded records of one partition of one stream. */
export interface SourcePart {
  readonly stream: StreamId;
  readonly partition: number;
  readonly arena: RecordArena;
}

/**
 * What a source hands over at once. Without `state` the records belong to a Kafka transaction that
 * a later batch ends (a table's snapshot is one transaction, so that a crash leaves nothing of it);
 * with `state` the transaction is committed and holds whole source transactions up to its position.
 */
export interface SourceBatch {
  readonly parts: readonly SourcePart[];
  readonly state: SourceState | null;
  readonly records: number;
  readonly bytes: number;
  /** Commit time at the source of the last change in it, epoch milliseconds; 0 for a snapshot. */
  readonly committedAtMs: number;
  /** What was handed over since the last state is to be forgotten: its transaction is given up. */
  readonly discards?: true;
}

/** Ids of a stream's registered schemas, for the Confluent header of each record. */
export interface SchemaIds {
  readonly key: number;
  readonly value: number;
  /** Schema of an empty record: the key of a TRUNCATE event, for a compacted topic takes no record
   * without a key, and a row's key would be compacted away by it. Such a key is the bare header. */
  readonly truncateKey: number;
}

export interface SourceStreamOptions {
  readonly stream: StreamId;
  readonly partitions: number;
  /** The copy of the table that is wanted. Another one than the state holds for the stream: its entry
   * is forgotten, the epoch rises by one, and it is copied anew behind a `t` event, so that deduped
   * tables lose what is gone. When that is so of every stream, nothing of the state is needed any
   * more: the source begins at a new position, with a new slot or log where the old one is lost. */
  readonly copy?: string;
}

export interface SourceOpenOptions {
  readonly sourceId: string;
  /** Name of the source in events (`source.name`): the topic prefix and the source's own name. */
  readonly serverName: string;
  readonly config: Record<string, unknown>;
  readonly streams: readonly SourceStreamOptions[];
  /** Null on the very first start. */
  readonly state: SourceState | null;
  /** Registers a stream's schema, after checking that it evolves compatibly (SCH_INCOMPATIBLE). */
  registerSchema(schema: StreamSchema): Promise<SchemaIds>;
  /** A record above this many bytes stops its stream with EVT_TOO_LARGE instead of being sent. */
  readonly maxRecordBytes: number;
  /** What it holds of the process's memory; it stops reading its socket when that is full (invariant 9). */
  readonly buffers: BufferAccount;
  /** A Kafka transaction must end within this time; a snapshot commits in between when it nears. */
  readonly maxTransactionMs: number;
  readonly signal: AbortSignal;
}

/** How a job reads one stream, into a topic of one partition. */
export interface ReadStreamOptions {
  readonly stream: StreamId;
  /** `full_refresh`: a generation, between its marks. `incremental`: what is new by the cursor. */
  readonly syncMode: 'full_refresh' | 'incremental';
  readonly cursor: string | null;
  /** Columns that tell the rows apart; empty: the source's own key. */
  readonly key: readonly string[];
  /** As SourceStreamOptions.copy: another one than the state holds for the stream begins it anew, and
   * allows a full refresh to come back empty. */
  readonly copy?: string;
}

export interface SourceReadOptions extends Omit<SourceOpenOptions, 'sourceId' | 'streams'> {
  /** Position that the state has when this job's read is done; sorts as text, later jobs later. */
  readonly job: string;
  readonly streams: readonly ReadStreamOptions[];
}

/** `read`: a job's read of the stream has ended. */
export type StreamPhase = 'pending' | 'snapshot' | 'streaming' | 'stopped' | 'read';

export interface StreamProgress {
  readonly stream: StreamId;
  readonly phase: StreamPhase;
  readonly rowsDone: number;
  /** The planner's guess; null when it has none. */
  readonly rowsEstimate: number | null;
  /** Set when phase is `stopped`; the other streams go on. */
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export interface SourceProgress {
  /** `read`: a job's read has ended, for streams that were stopped too. */
  readonly phase: 'connecting' | 'snapshot' | 'streaming' | 'read';
  readonly streams: readonly StreamProgress[];
  /** Everything the source committed up to here has been handed over by `next`, or concerned no
   * stream of ours. */
  readonly readThrough: string;
  /** Bytes of log between readThrough and the server's newest position, as last heard. */
  readonly lagBytes: number;
  /** One line for people while something is waited for ("waiting for transactions older than ..."). */
  readonly waitingFor?: string;
}

export interface SourceReader {
  /** Resolves with what is waiting as soon as there is something; null after `close` or abort, and
   * at the end of a job's read.
   * Rejects with a PipelineError; the reader is then dead and is opened anew. */
  next(): Promise<SourceBatch | null>;
  /** A batch has been written to Kafka and its arenas are handed back for reuse. With a state it has
   * been committed: the source may forget up to its position (invariant 1). */
  acknowledge(batch: SourceBatch): void;
  progress(): SourceProgress;
  close(): Promise<void>;
}

export interface Source {
  readonly spec: ConnectorSpec;
  check(config: Record<string, unknown>): Promise<CheckResult>;
  discover(config: Record<string, unknown>): Promise<DiscoveredStream[]>;
  /** Whether the configuration asks to follow the source's log; else jobs read its streams. */
  hasLog(config: Record<string, unknown>): boolean;
  /** Reads streams once, to their end, for a job; goes on where an interrupted one of the same job
   * stands in `state`. Not given where a source can only be followed by its log. */
  read?(options: SourceReadOptions): Promise<SourceReader>;
  /** Refuses with a code when the log cannot be continued from `state` without a gap. */
  open(options: SourceOpenOptions): Promise<SourceReader>;
  /** The newest committed position, as text comparable with SourceProgress.readThrough: a barrier
   * waits until everything up to it has been read. */
  currentPosition(config: Record<string, unknown>): Promise<string>;
  /** Drops what the source holds for us on the server (slot, publication we created). */
  release(options: { sourceId: string; config: Record<string, unknown> }): Promise<void>;
  /** Opens a table to be compared with its copies; not given where that cannot be done exactly. */
  readonly openTable?: OpenSourceTable;
  /** Names what `release` would drop, so that two sources that would share it can be told: by the
   * server's address and the thing's name. Null when nothing is held. Asks no server. */
  heldOnServer?(config: Record<string, unknown>): string | null;
  /** Log that the server keeps for this source alone, in bytes; null when it keeps none for it. */
  retainedLogBytes?(config: Record<string, unknown>): Promise<number | null>;
}
