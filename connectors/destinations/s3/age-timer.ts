export interface AgeTimerOptions {
  /** How long what waits may still wait, in milliseconds; null when nothing does. */
  waitMs(): number | null;
  /** Lets go of what waits; called again later when it rejects. */
  act(): Promise<void>;
}

/** Sees to it that records become durable though no others follow them. Keeps no process alive. */
export class AgeTimer {
  private readonly options: AgeTimerOptions;
  private timer: NodeJS.Timeout | null = null;

  constructor(options: AgeTimerOptions) {
    this.options = options;
  }

  /** Something may wait now. */
  arm(): void {
    if (this.timer !== null) return;
    const wait = this.options.waitMs();
    if (wait === null) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.options.act().catch(() => this.arm());
    }, wait);
    this.timer.unref();
  }

  clear(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
