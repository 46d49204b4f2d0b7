const INTERVAL_MS = 500;

export interface ReportLoopOptions {
  /** Saves one report. */
  report(): Promise<void>;
  failed(error: unknown): void;
}

/** Reports on a timer of its own until stopped, one report at a time; a report that cannot be saved
 * is only told of, for the next one says the same and more. */
export class ReportLoop {
  private readonly options: ReportLoopOptions;
  private readonly timer: NodeJS.Timeout;
  private current: Promise<void> | undefined;

  constructor(options: ReportLoopOptions) {
    this.options = options;
    this.timer = setInterval(() => void this.once(), INTERVAL_MS);
    void this.once();
  }

  /** Sends the last word and ends. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.current;
    await this.once();
  }

  private async once(): Promise<void> {
    if (this.current !== undefined) return;
    this.current = this.save();
    await this.current;
    this.current = undefined;
  }

  private async save(): Promise<void> {
    try {
      await this.options.report();
    } catch (error) {
      this.options.failed(error);
    }
  }
}
