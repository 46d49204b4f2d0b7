import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '../../core/errors/codes.ts';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import { failpoint } from '../../core/run/failpoints.ts';
import { CONCURRENT_TRANSACTIONS, kafkaError, NONE } from '../errors.ts';
import type { Codec } from '../wire/codec.ts';
import type { WireRequest } from '../wire/broker-connection.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import { BatchSender, type MaxMessageBytes, type TopicPart } from './batch-sender.ts';
import { endHangingTransactions } from './hanging-transactions.ts';
import type { BatchProducer } from './record-batch.ts';
import {
  addPartitionsRequest,
  endTransactionRequest,
  initProducerRequest,
  readAddPartitions,
  readEndTransaction,
  readInitProducer,
  type ProducerIdentity,
  type TopicPartitionRef,
  type TransactionProtocol,
} from './transaction-requests.ts';

export interface TransactionWriterOptions {
  readonly cluster: KafkaCluster;
  /** The same over restarts: whoever opens it fences the one before. */
  readonly transactionalId: string;
  readonly compression?: Codec;
  /** Topics' max.message.bytes; Kafka's default when not given. */
  readonly maxMessageBytes?: MaxMessageBytes;
  /** The transaction protocol; found out from the broker when not given. */
  readonly protocol?: TransactionProtocol;
}

export interface OpenWriterOptions {
  /** How long the broker lets a transaction stay open before it aborts it; at most its
   * transaction.max.timeout.ms. */
  readonly timeoutMs: number;
  /** How long to wait for a broker that is away, starting, or still ending the last transaction of
   * an older instance. Default 60 s. */
  readonly patienceMs?: number;
}

const DEFAULT_PATIENCE_MS = 60_000;
const OPEN_RETRY_MS = 50;
/** See CONCURRENT_RETRY_MS of the sender: protocol 1 meets this answer on every busy transaction. */
const CONCURRENT_RETRY_MS = 3;
/** Brokers' answers that pass by themselves while a writer opens. */
const OPENING_PASSES: readonly ErrorCode[] = ['KAFKA_UNAVAILABLE', 'KAFKA_REOPEN'];
/** Errors that say what is wrong; anything else inside a transaction leaves its outcome unknown. */
const TELLING: readonly ErrorCode[] = [
  'KAFKA_FENCED',
  'KAFKA_AUTH',
  'KAFKA_REFUSED',
  'KAFKA_TOPIC_GONE',
  'EVT_TOO_LARGE',
];
/** A broker that hangs must not hold up the end of the process. */
const CLOSE_PATIENCE_MS = 3_000;
const UNREF = { ref: false };
const SEQUENCE_MODULUS = 0x8000_0000;

type WriterState = 'new' | 'idle' | 'in-transaction' | 'dead';

/**
 * Writes Kafka transactions under one transactional id. Any error is the end of the writer: it then
 * rejects with a code that says why (KAFKA_FENCED, EVT_TOO_LARGE, ...) or with KAFKA_REOPEN, upon
 * which the caller closes it, opens a new one with the same id and reads its position again; opening
 * aborts or completes what was left, so an unknown outcome is known then (invariants 2 and 6).
 * Calls are made one at a time.
 */
export class TransactionWriter {
  private readonly cluster: KafkaCluster;
  private readonly transactionalId: string;
  private readonly codec: Codec;
  private readonly sender: BatchSender;
  private protocol: TransactionProtocol | null;
  private state: WriterState = 'new';
  private identity: ProducerIdentity = { producerId: -1, epoch: -1 };
  private coordinator = -1;
  private timeoutMs = 0;
  private begunAt = 0;
  /** Next sequence number by topic and partition. */
  private readonly sequences = new Map<string, number>();
  /** Protocol 1: partitions announced to the coordinator in this transaction. */
  private readonly announced = new Set<string>();

  constructor(options: TransactionWriterOptions) {
    this.cluster = options.cluster;
    this.transactionalId = options.transactionalId;
    this.codec = options.compression ?? 'none';
    this.protocol = options.protocol ?? null;
    const { cluster, maxMessageBytes } = options;
    this.sender = new BatchSender(
      maxMessageBytes === undefined ? { cluster } : { cluster, maxMessageBytes },
    );
  }

  /** Fences any older instance and ends what it left open: its committed records are readable and its
   * others aborted when this resolves. */
  async open(options: OpenWriterOptions): Promise<void> {
    this.expect('new');
    this.timeoutMs = options.timeoutMs;
    const deadline = Date.now() + (options.patienceMs ?? DEFAULT_PATIENCE_MS);
    for (;;) {
      try {
        await this.initialize();
        this.state = 'idle';
        return;
      } catch (error) {
        const failure = toPipelineError(error);
        if (!OPENING_PASSES.includes(failure.code) || Date.now() > deadline) {
          this.state = 'dead';
          throw failure;
        }
        await delay(OPEN_RETRY_MS);
      }
    }
  }

  /** Asks for the coordinator first: on a new broker that question creates the topic of
   * transactions, and without it InitProducerId is refused for ever. */
  private async initialize(): Promise<void> {
    this.coordinator = await this.cluster.coordinator('transaction', this.transactionalId);
    // Before the coordinator forgets how the last one ended.
    await endHangingTransactions(this.cluster, this.coordinator, this.transactionalId);
    const answer = await this.askCoordinator(
      initProducerRequest(this.transactionalId, this.timeoutMs),
    );
    const doing = `opening the transactional id ${this.transactionalId}`;
    this.identity = readInitProducer(answer, doing);
    this.protocol ??= await this.protocolOfBroker();
  }

  private async protocolOfBroker(): Promise<TransactionProtocol> {
    const { apis, features } = await this.cluster.abilities();
    const offered = (apiKey: number): number => apis.get(apiKey)?.max ?? 0;
    const level = features.get('transaction.version') ?? 0;
    return level >= 2 && offered(0) >= 12 && offered(26) >= 5 ? 2 : 1;
  }

  /** Writes into the open transaction; begins one when none is open. */
  async append(parts: readonly TopicPart[]): Promise<void> {
    this.expect('idle', 'in-transaction');
    const filled = parts.filter((part) => part.arena.count > 0);
    if (filled.length === 0) return;
    if (this.state === 'idle') this.begunAt = Date.now();
    this.state = 'in-transaction';
    await this.orDie(async () => {
      await failpoint('kafka.begun');
      if (this.protocol === 1) await this.announce(filled);
      await this.sender.send(filled, this.produceOptions(), this.stamp);
    });
  }

  /** Writes, then commits: every record since the transaction began is readable, or none is. */
  async commit(parts: readonly TopicPart[]): Promise<void> {
    await this.append(parts);
    if (this.state !== 'in-transaction') return;
    await failpoint('kafka.position_produced');
    await this.end(true);
  }

  /** Ends the open transaction so that nobody ever reads its records. Nothing to do on a dead
   * writer: the next one that opens aborts in its place. */
  async abort(): Promise<void> {
    if (this.state === 'in-transaction') await this.end(false);
  }

  /** Lets go of the connections. An open transaction is aborted if that is still possible, because
   * readers wait at its first record until the broker's time-out. */
  async close(): Promise<void> {
    await Promise.race([this.abort().catch(() => {}), delay(CLOSE_PATIENCE_MS, undefined, UNREF)]);
    this.state = 'dead';
    this.sender.close();
  }

  private produceOptions() {
    return {
      transactionalId: this.transactionalId,
      codec: this.codec,
      apiVersion: this.protocol === 2 ? 12 : 9,
    } as const;
  }

  private readonly stamp = (topic: string, partition: number, count: number): BatchProducer => {
    const key = `${topic}/${partition}`;
    const sequence = this.sequences.get(key) ?? 0;
    this.sequences.set(key, (sequence + count) % SEQUENCE_MODULUS);
    return { ...this.identity, sequence, transactional: true };
  };

  private async announce(parts: readonly TopicPart[]): Promise<void> {
    const added = new Map<string, TopicPartitionRef>();
    for (const { topic, partition } of parts) {
      const key = `${topic}/${partition}`;
      if (!this.announced.has(key)) added.set(key, { topic, partition });
    }
    if (added.size === 0) return;
    const request = addPartitionsRequest(this.transactionalId, this.identity, [...added.values()]);
    await this.untilTransactionsPass('adding partitions to a transaction', async () =>
      readAddPartitions(await this.askCoordinator(request)),
    );
    for (const key of added.keys()) this.announced.add(key);
  }

  private async end(commit: boolean): Promise<void> {
    const protocol = this.protocol as TransactionProtocol;
    const request = endTransactionRequest(this.transactionalId, this.identity, protocol, commit);
    await this.orDie(() =>
      this.untilTransactionsPass('ending a transaction', async () => {
        const answering = this.askCoordinator(request);
        // A fault below must not make a rejection that nobody waits for.
        answering.catch(() => {});
        if (commit) await failpoint('kafka.commit_sent');
        const answer = await answering;
        const { errorCode, identity } = readEndTransaction(answer, this.identity, protocol);
        this.identity = identity;
        return errorCode;
      }),
    );
    // A new epoch counts from zero; the broker of protocol 1 goes on counting.
    if (protocol === 2) this.sequences.clear();
    this.announced.clear();
    this.state = 'idle';
  }

  private async untilTransactionsPass(doing: string, ask: () => Promise<number>): Promise<void> {
    const deadline = Date.now() + this.timeoutMs;
    for (;;) {
      const errorCode = await ask();
      if (errorCode === NONE) return;
      if (errorCode !== CONCURRENT_TRANSACTIONS || Date.now() > deadline) {
        throw kafkaError(errorCode, `${doing} of ${this.transactionalId}`);
      }
      await delay(CONCURRENT_RETRY_MS);
    }
  }

  private async askCoordinator(request: WireRequest): Promise<Buffer> {
    return (await this.sender.connectionTo(this.coordinator)).request(request);
  }

  private async orDie(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.state = 'dead';
      this.sender.close();
      throw this.verdict(toPipelineError(error));
    }
  }

  private verdict(failure: PipelineError): PipelineError {
    const overdue = Date.now() - this.begunAt >= this.timeoutMs;
    // The broker raises the epoch as well when it aborts an overdue transaction: no other instance.
    const telling = TELLING.includes(failure.code) && !(failure.code === 'KAFKA_FENCED' && overdue);
    if (telling) return failure;
    const why = overdue ? `it was open for longer than ${this.timeoutMs} ms; ` : '';
    return new PipelineError(
      'KAFKA_REOPEN',
      `a transaction of ${this.transactionalId} failed: ${why}${failure.message}`,
      { cause: failure, details: failure.details },
    );
  }

  private expect(...states: WriterState[]): void {
    if (states.includes(this.state)) return;
    if (this.state === 'dead') {
      throw new PipelineError(
        'KAFKA_REOPEN',
        `the writer of ${this.transactionalId} failed or was closed before`,
      );
    }
    throw new Error(`a transaction writer that is ${this.state} was asked for something else`);
  }
}
