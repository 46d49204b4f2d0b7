/** Adds up the time that one thread of work spends in each of its stages, in milliseconds. */
export class StageClock<Stage extends string> {
  private readonly spent: Record<Stage, number>;
  private current: Stage | null = null;
  private since = 0;

  constructor(stages: readonly Stage[]) {
    this.spent = Object.fromEntries(stages.map((stage) => [stage, 0])) as Record<Stage, number>;
  }

  /** Ends the stage under way and begins another; null for none. */
  enter(stage: Stage | null): void {
    const now = performance.now();
    if (this.current !== null) this.spent[this.current] += now - this.since;
    this.current = stage;
    this.since = now;
  }

  /** The stage under way is included: a call that hangs is seen while it hangs. */
  totals(): Record<Stage, number> {
    this.enter(this.current);
    return { ...this.spent };
  }
}
