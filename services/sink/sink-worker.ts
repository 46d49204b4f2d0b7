import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../core/observe/logger.ts';
import { LeaseKeeper, type LeasedUnit } from '../../core/run/lease-keeper.ts';
import { ReportLoop } from '../../core/run/report-loop.ts';
import type { Service } from '../../core/run/service.ts';
import type { ConnectionWork, WorkStore } from '../../core/store/work.ts';
import { connectors } from '../../connectors/registry.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { SinkRunner } from './sink-runner.ts';

export interface SinkWorkerOptions {
  readonly store: WorkStore;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  /** HEADRACE_HOME; scratch files lie below it. */
  readonly home: string;
  readonly maxBufferedBytes: number;
  /** Name of this process in leases. */
  readonly owner: string;
  readonly log: Logger;
}

/** The sink role: delivers every active connection, as far as it holds leases. */
export function createSinkWorker(options: SinkWorkerOptions): Service {
  const { store, log } = options;
  const unitOf = (work: ConnectionWork): LeasedUnit => ({
    unit: `connection:${work.connectionId}`,
    version: work.version,
    run: (signal) => deliverConnection(work, options, signal),
  });
  const keeper = new LeaseKeeper({
    store,
    owner: options.owner,
    ttlMs: 6_000,
    pollMs: 1_000,
    wanted: async () => (await store.listWork()).connections.map(unitOf),
    storeAway: (error) => log.warn({ err: error }, 'the store does not answer; delivery goes on'),
  });
  return { name: 'sink', run: (signal) => keeper.run(signal) };
}

async function deliverConnection(
  work: ConnectionWork,
  options: SinkWorkerOptions,
  signal: AbortSignal,
): Promise<void> {
  const unit = `connection:${work.connectionId}`;
  const scratchFolder = join(options.home, 'scratch', work.connectionId);
  await mkdir(scratchFolder, { recursive: true });
  const runner = new SinkRunner({
    work,
    connector: await connectors.destinations.load(work.connector),
    kafka: options.kafka,
    topicPrefix: options.topicPrefix,
    scratchFolder,
    maxBufferedBytes: options.maxBufferedBytes,
    log: options.log,
  });
  const reports = new ReportLoop({
    report: async () => {
      await options.store.saveReport(unit, runner.status.report());
      const commands = await options.store.takeCommands(unit);
      if (commands.some((command) => command.kind === 'flush')) await runner.flush();
    },
    failed: (error) => options.log.debug({ err: error }, 'report not saved'),
  });
  try {
    await runner.run(signal);
  } finally {
    await reports.stop();
  }
}
