import { hash } from 'node:crypto';

/** Characters of a fingerprint: 72 bits, so that two rows of a read are never taken for one. */
const LENGTH = 12;

/**
 * Rows by what they hold, as far as there is room for them: which of them an earlier read has met. A
 * row that is there twice is counted twice, and one that was changed is another.
 */
export class SeenRows {
  private readonly counts = new Map<string, number>();
  private readonly prints: string[];
  private readonly limit: number;

  constructor(limit: number, text = '') {
    this.limit = limit;
    this.prints = Array.from({ length: text.length / LENGTH }, (_, i) =>
      text.slice(i * LENGTH, (i + 1) * LENGTH),
    );
    for (const print of this.prints) this.counts.set(print, (this.counts.get(print) ?? 0) + 1);
  }

  add(print: string): void {
    if (this.prints.length < this.limit) this.prints.push(print);
  }

  /** Whether the row is one of those, which is then one fewer. */
  take(print: string): boolean {
    const count = this.counts.get(print) ?? 0;
    if (count > 0) this.counts.set(print, count - 1);
    return count > 0;
  }

  toText(): string {
    return this.prints.join('');
  }
}

/** Of a row's cells as they were sent. */
export function fingerprint(cells: Buffer): string {
  return hash('sha1', cells, 'base64').slice(0, LENGTH);
}
