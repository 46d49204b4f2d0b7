import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { loadSettings } from '../../../core/config/settings.ts';
import { OutgoingRules } from '../../../core/net/outgoing-rules.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import type { ConnectionReport, PartitionReport, SourceReport } from '../../../core/store/work.ts';
import type { Attempt } from '../../../core/store/jobs.ts';
import type { Store } from '../../../core/store/store.ts';
import { jobPolicy, type JobPolicy } from '../../../services/scheduler/job-policy.ts';
import { createScheduler } from '../../../services/scheduler/scheduler.ts';
import { fakeConnectors, type FakeConnectors } from './fake-connectors.ts';
import { embeddedStore, seedConnection } from './store-fixture.ts';

export const STREAM = { namespace: 'public', name: 'orders' };

interface Ids {
  readonly sourceId: string;
  readonly connectionId: string;
}

/** A scheduler over a real store; the test plays the workers by saving their reports. */
export class Stage {
  readonly store: Store;
  readonly fake: FakeConnectors = fakeConnectors();
  ends = new Map([['orders:0', 0]]);
  dbt: { command: string | null; projects: string | null } = { command: null, projects: null };
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
      schemaLookMs: 200,
      rules: new OutgoingRules(['127.0.0.1']),
      dbt: this.dbt,
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

  async versions({ sourceId, connectionId }: Ids): Promise<{ source: string; connection: string }> {
    const work = await this.store.work.listWork();
    return {
      source: work.sources.find((each) => each.sourceId === sourceId)?.version ?? '',
      connection: work.connections.find((c) => c.connectionId === connectionId)?.version ?? '',
    };
  }

  async sourceSays(ids: Ids, report: Partial<SourceReport>): Promise<void> {
    const { source: version } = await this.versions(ids);
    await this.store.work.saveReport(`source:${ids.sourceId}`, 'worker', {
      kind: 'source',
      id: ids.sourceId,
      phase: 'streaming',
      version,
      capturedThrough: '0B',
      lagBytes: 0,
      lagMs: 0,
      records: 0,
      bytes: 0,
      streams: [{ ...STREAM, phase: 'streaming', rowsDone: 3, rowsEstimate: null }],
      ...report,
    });
  }

  async sinkSays(
    ids: Ids,
    partition: Partial<PartitionReport>,
    records: number,
    report: Partial<ConnectionReport>,
  ): Promise<void> {
    const { connection: version } = await this.versions(ids);
    const none = { topic: 'orders', partition: 0, durable: 0, consumed: 0, end: 0 };
    await this.store.work.saveReport(`connection:${ids.connectionId}`, 'worker', {
      kind: 'connection',
      id: ids.connectionId,
      phase: 'running',
      version,
      partitions: [{ ...none, ...partition }],
      streams: [{ ...STREAM, phase: 'running', records, bytes: records * 10, watermarkMs: 0 }],
      ...report,
    });
  }

  async stopSchedulers(): Promise<void> {
    for (const { abort } of this.running) abort.abort();
    await Promise.all(this.running.map(({ done }) => done));
  }

  async stop(): Promise<void> {
    await this.stopSchedulers();
    for (const job of await this.store.jobs.open()) await this.store.jobs.cancel(job.id);
  }
}

/** A store for the tests of a file, and for each of them a stage and a connection of its own. */
export class StagedConnection {
  stage!: Stage;
  ids!: Awaited<ReturnType<typeof seedConnection>>;

  constructor() {
    let opened: Awaited<ReturnType<typeof embeddedStore>>;
    beforeAll(async () => void (opened = await embeddedStore()), 240_000);
    afterAll(() => opened[Symbol.asyncDispose]());
    beforeEach(async () => {
      this.stage = new Stage(opened.store);
      this.ids = await seedConnection(opened.store);
    });
    afterEach(async () => {
      await this.stage.stop();
      await opened.store.connections.remove(this.ids.connectionId);
      // A new source would wait for the clean-up of the one before.
      for (const { id } of await opened.store.cleanups.due()) await opened.store.cleanups.done(id);
    });
  }

  readonly sourceSays = (report: Partial<SourceReport> = {}): Promise<void> =>
    this.stage.sourceSays(this.ids, report);

  readonly sinkSays = (
    partition: Partial<PartitionReport>,
    records = 0,
    report: Partial<ConnectionReport> = {},
  ): Promise<void> => this.stage.sinkSays(this.ids, partition, records, report);

  readonly sync = async (): Promise<number> =>
    (await this.stage.store.jobs.create(this.ids.connectionId, [STREAM])).id;

  readonly statusOf = async (id: number): Promise<string> =>
    (await this.stage.store.jobs.get(id)).status;

  readonly logOf = async (id: number): Promise<string> =>
    (await this.stage.store.jobs.logLines(id, 0, 100)).join('\n');

  readonly attemptOf = async (id: number): Promise<Attempt | undefined> =>
    (await this.stage.store.jobs.attempts([id]))[0];
}
