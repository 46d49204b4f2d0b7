/**
 * Parts of lists as JSON text, by what they are made of: what has not changed since it was last
 * asked for is neither read from the store nor written anew. What was used least recently goes first
 * when they take more than `limit` characters together, so that wide catalogs cannot fill the memory.
 */
export class KeptTexts {
  private readonly texts = new Map<string, string>();
  private readonly limit: number;
  private size = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get(key: string): string | undefined {
    const text = this.texts.get(key);
    if (text === undefined) return undefined;
    // A map keeps the order of insertion: the first one is the one longest unused.
    this.texts.delete(key);
    this.texts.set(key, text);
    return text;
  }

  keep(key: string, text: string): void {
    this.drop(key);
    this.texts.set(key, text);
    this.size += text.length;
    for (const oldest of this.texts.keys()) {
      if (this.size <= this.limit) return;
      this.drop(oldest);
    }
  }

  private drop(key: string): void {
    this.size -= this.texts.get(key)?.length ?? 0;
    this.texts.delete(key);
  }
}
