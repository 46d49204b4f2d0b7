import type { WriterContext } from './range-delivery.ts';

/** Removes files that count for nothing any more, when no reader can have begun with them. */
export class ReplacedFiles {
  private readonly context: WriterContext;
  /** When they were first seen, epoch milliseconds. */
  private seen = new Map<string, number>();
  private closed = false;

  constructor(context: WriterContext) {
    this.context = context;
  }

  /** `keys`: all that are replaced now. True when none is left. */
  async remove(keys: readonly string[]): Promise<boolean> {
    const { store, settings } = this.context;
    const now = Date.now();
    const before = this.seen;
    this.seen = new Map(keys.map((key) => [key, before.get(key) ?? now]));
    for (const [key, since] of this.seen) {
      if (since > now - settings.retentionMs || this.closed) continue;
      await store.delete(key);
      this.seen.delete(key);
    }
    return this.seen.size === 0;
  }

  close(): void {
    this.closed = true;
  }
}
