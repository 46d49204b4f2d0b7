import { loadSettings } from '../../../core/config/settings.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import type { Store } from '../../../core/store/store.ts';
import { jobPolicy, type JobPolicy } from '../../../services/scheduler/job-policy.ts';
import { createScheduler } from '../../../services/scheduler/scheduler.ts';
import { fakeConnectors, type FakeConnectors } from './fake-connectors.ts';

/** A scheduler over a real store; the test plays the workers by saving their reports. */
export class Stage {
  readonly store: Store;
  readonly fake: FakeConnectors = fakeConnectors();
  ends = new Map([['orders:0', 0]]);
  policy: JobPolicy = jobPolicy(loadSettings({}));
  endsAskedFor: string[][] = [];
  private readonly running: { abort: AbortController; done: Promise<void> }[] = [];

  constructor(store: Store) {
    this.store = store;
    this.fake.position = () => Promise.resolve('0A');
  }

  startScheduler(owner = 'scheduler-1'): { stop(): Promise<void> } {
    const abort = new AbortController();
    const service = createScheduler({
      store: this.store,
      connectors: this.fake,
      owner,
      policy: this.policy,
      logger: createLogger({ level: 'silent', service: 'scheduler' }),
      endOffsets: (topics) => {
        this.endsAskedFor.push(topics);
        return Promise.resolve(this.ends);
      },
    });
    const done = service.run(abort.signal);
    this.running.push({ abort, done });
    return { stop: () => (abort.abort(), done) };
  }

  async stop(): Promise<void> {
    for (const { abort } of this.running) abort.abort();
    await Promise.all(this.running.map(({ done }) => done));
    for (const job of await this.store.jobs.open()) await this.store.jobs.cancel(job.id);
  }
}
