const MIB = 1024 * 1024;

/** Node, the program and what its heap grows to while it is busy; measured, not counted. */
const PROGRAM_BYTES = 136 * MIB;
/** Less would not hold one batch of each direction. */
const LEAST_BUFFER_BYTES = 16 * MIB;

/**
 * What all buffers of a process may hold together (invariant 9). Nobody has a fixed share: a buffer
 * may grow while it is smaller than a part of what is still free, so that a single busy one gets
 * much, many get less each, and none can ever take the last of it.
 */
export class MemoryBudget {
  readonly bytes: number;
  private readonly whole: MemoryBudget | null;
  private held = 0;

  /** `whole`: what it is a part of. */
  constructor(bytes: number, whole: MemoryBudget | null = null) {
    this.bytes = bytes;
    this.whole = whole;
  }

  /** Of a process that is to stay below `memoryMb` MiB as a whole. */
  static ofProcess(memoryMb: number): MemoryBudget {
    return new MemoryBudget(Math.max(LEAST_BUFFER_BYTES, memoryMb * MIB - PROGRAM_BYTES));
  }

  get free(): number {
    return Math.min(this.bytes - this.held, this.whole?.free ?? Infinity);
  }

  /** Its buffers have `bytes` at most together, and less when the rest of the process is busy. */
  part(bytes: number): MemoryBudget {
    return new MemoryBudget(Math.max(LEAST_BUFFER_BYTES, bytes), this);
  }

  account(): BufferAccount {
    return new BufferAccount(this, (change) => this.hold(change));
  }

  private hold(change: number): void {
    this.held += change;
    this.whole?.hold(change);
  }
}

/** What one reader or writer holds of its process's budget. */
export class BufferAccount {
  private readonly budget: MemoryBudget;
  private readonly changed: (change: number) => void;
  private held = 0;

  constructor(budget: MemoryBudget, changed: (change: number) => void) {
    this.budget = budget;
    this.changed = changed;
  }

  /** Bytes held now, whoever of the process asked for them. */
  hold(bytes: number): void {
    this.changed(bytes - this.held);
    this.held = bytes;
  }

  /** Bytes that one buffer may have at this moment: half of what is free, at most `most`. */
  room(most = Infinity): number {
    return Math.max(0, Math.min(most, this.budget.free / 2));
  }

  /** True when a buffer of `bytes` should take in no more before it has given away. An empty one never
   * is full, so that everybody goes on. */
  isFull(bytes: number, most = Infinity): boolean {
    return bytes > 0 && bytes >= this.room(most);
  }

  /** Nothing is held any more. */
  close(): void {
    this.hold(0);
  }
}
