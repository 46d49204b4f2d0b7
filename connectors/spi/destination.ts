import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { BufferAccount } from '../../core/run/memory-budget.ts';
import type { StreamId } from '../../schemas/catalog/stream-id.ts';
import type { ChangeSchema, KeySchema } from '../../schemas/envelope/change-decoder.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import type { OpenAppendedCopy, OpenDestinationTable } from './comparison.ts';
import type { CheckResult, ConnectorSpec } from './connector.ts';

/**
 * What becomes of a stream's events. `append`: each is a row. `append_dedup`: one row per key, the
 * newest. `overwrite`: the rows of the last whole generation, which lie between a begin mark (`t`,
 * snapshot) and an end mark (`m`, snapshot `last`) in a topic of one partition; what an unfinished
 * generation holds is never shown. Marks are no rows in any mode.
 */
export type DestinationMode = 'append' | 'append_dedup' | 'overwrite';

/** One stream of a connection as it lands: names are resolved by the connection's namespace rules. */
export interface DestinationStream {
  readonly stream: StreamId;
  /** Schema or path segment; null where the connection leaves it to the destination's own setting. */
  readonly namespace: string | null;
  /** Table or path segment: prefix and name. */
  readonly name: string;
  readonly mode: DestinationMode;
  /** Key columns in order; empty for a stream without a key (append only). */
  readonly primaryKey: readonly string[];
}

/** An order to deliver a partition again; carried out once, when the partition is opened. */
export interface Replay {
  /** Another one than the destination has noted is an order that it has not begun. */
  readonly id: string;
  /** Offset to begin at; in place never past where the partition stands. */
  readonly from: number;
  /** End of the partition when the replay was looked at. */
  readonly until: number;
  /** Beside what is there, which everything from `from` on replaces as a whole once it is up to
   * `until`; else in place, where rows that are there already stay as they are (invariant 4). */
  readonly rebuild: boolean;
}

export interface PartitionTarget {
  readonly stream: DestinationStream;
  readonly topic: string;
  readonly partition: number;
  readonly replay?: Replay;
}

/** Records of one partition in offset order. `nextOffset` is where the reader goes on: past the last
 * record and past control records behind it. */
export interface ChangeBatch {
  readonly target: PartitionTarget;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly records: RecordView;
}

/** Schemas by the id in a record's header. `load` fetches one; afterwards the getters have it. */
export interface SchemaLookup {
  value(id: number): ChangeSchema | undefined;
  key(id: number): KeySchema | undefined;
  load(id: number): Promise<void>;
  /** The newest value schema of a topic now, or null when nothing was registered yet. */
  latest(topic: string): Promise<{ value: ChangeSchema; key: KeySchema | null } | null>;
}

export interface DestinationOpenOptions {
  readonly connectionId: string;
  readonly config: Record<string, unknown>;
  readonly schemas: SchemaLookup;
  /** Folder for files that a crash may leave and the next start removes. */
  readonly scratchFolder: string;
  /** What it holds of the process's memory before it is durable (invariant 9). */
  readonly buffers: BufferAccount;
  readonly signal: AbortSignal;
  /** Told of values that were replaced by null in rows that are durable now: how many, by field. */
  readonly nulled?: (stream: string, counts: ReadonlyMap<string, number>) => void;
}

/**
 * Writes a connection's batches. All state that exactly-once rests on (offsets, claims) lies in the
 * destination itself; Kafka's group offsets are for display only.
 */
export interface DestinationWriter {
  /** How many `write` calls may run at once, each on partitions of its own. */
  readonly lanes: number;
  /** Prepares table or path of a partition (an empty stream gets an empty table) and answers where to
   * read on; null when the destination has seen nothing of it. Refuses with a code when what it finds
   * there contradicts its own records (table gone, offset row gone). */
  open(target: PartitionTarget): Promise<number | null>;
  /**
   * Takes batches of different partitions, applied together where the destination can. Resolves when
   * they are accepted. A PipelineError carries `details.stream` (streamLabel) when one stream alone
   * is to blame; nothing of the call is then applied, and the caller repeats it without that stream.
   * A batch that begins at or before what is already applied is applied from there on; one that
   * leaves a gap, or a partition another instance has moved on, is refused with SNK_FENCED.
   * `next` tells what the following call will bring if all goes well, and may be asked when these are
   * on their way: what can be made ready without waiting is.
   */
  write(batches: readonly ChangeBatch[], next?: () => readonly ChangeBatch[]): Promise<void>;
  /** What failed behind batches that were accepted, once per failure; asked after every fetch. */
  failure?(): PipelineError | null;
  /** Everything below this offset survives any crash; the number that a barrier waits for. */
  durableOffset(target: PartitionTarget): number;
  /** All partitions of a topic are open: ends a replay that has nothing to do. */
  opened?(topic: string): Promise<void>;
  /** Makes everything accepted so far durable. */
  flush(): Promise<void>;
  /** Flushes, then lets go. */
  close(): Promise<void>;
}

export interface Destination {
  /** Whether partitions can be replayed; else such an order is refused. */
  readonly replays?: boolean;
  /** Why streams of a mode cannot be, in place or by a rebuild, and what to do instead; null when they
   * can. Not given where all can. */
  replayProblem?(mode: DestinationMode, rebuild: boolean): string | null;
  readonly spec: ConnectorSpec;
  check(config: Record<string, unknown>): Promise<CheckResult>;
  /** Refuses combinations that make no sense (deduped without a key) before anything is stored. */
  validateStream(config: Record<string, unknown>, stream: DestinationStream): void;
  /** What the stream fills, by name: two streams of a connection may not share one. Not given where
   * namespace and name alone decide. */
  places?(config: Record<string, unknown>, stream: DestinationStream): readonly string[];
  open(options: DestinationOpenOptions): Promise<DestinationWriter>;
  /** Opens a deduped copy to be compared with its source. */
  readonly openTable?: OpenDestinationTable;
  /** Opens a copy with a row per event to be compared with the topic. */
  readonly openAppended?: OpenAppendedCopy;
}
