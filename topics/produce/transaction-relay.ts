import type { TopicPart } from './batch-sender.ts';
import {
  TransactionWriter,
  type OpenWriterOptions,
  type TransactionWriterOptions,
} from './transaction-writer.ts';

/**
 * Two transaction writers that take turns. After a commit is decided the coordinator still writes
 * its markers, and the same id's next transaction is put off until then, by a broker's own retry of
 * 20 ms: most of our latency. The other id's transaction begins at once. Each begins only when the
 * one before is decided, so the order in every partition and the last position hold as with one
 * (invariants 2 and 4); opening fences both ids of an older instance before anything is read.
 * Errors are those of TransactionWriter and end both.
 */
export class TransactionRelay {
  private readonly writers: readonly [TransactionWriter, TransactionWriter];
  private turn: 0 | 1 = 0;

  constructor(options: TransactionWriterOptions) {
    const { transactionalId } = options;
    this.writers = [
      new TransactionWriter({ ...options, transactionalId: `${transactionalId}.a` }),
      new TransactionWriter({ ...options, transactionalId: `${transactionalId}.b` }),
    ];
  }

  async open(options: OpenWriterOptions): Promise<void> {
    for (const writer of this.writers) await writer.open(options);
  }

  /** Writes into the open transaction; begins one when none is open. */
  append(parts: readonly TopicPart[]): Promise<void> {
    return this.writers[this.turn].append(parts);
  }

  /** Writes, then commits: every record since the transaction began is readable, or none is. */
  async commit(parts: readonly TopicPart[]): Promise<void> {
    await this.writers[this.turn].commit(parts);
    this.turn = this.turn === 0 ? 1 : 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.writers.map((writer) => writer.close()));
  }
}
