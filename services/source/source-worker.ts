import type { Logger } from '../../core/observe/logger.ts';
import { LeaseKeeper, type Held, type LeasedUnit } from '../../core/run/lease-keeper.ts';
import type { MemoryBudget } from '../../core/run/memory-budget.ts';
import type { Service } from '../../core/run/service.ts';
import type { WorkStore } from '../../core/store/work.ts';
import { connectors } from '../../connectors/registry.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { ReportLoop } from '../../core/run/report-loop.ts';
import { logTask, readTask, type CaptureTask } from './capture-task.ts';
import { SourceRunner } from './source-runner.ts';

export interface SourceWorkerOptions {
  readonly store: WorkStore;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  readonly topicPartitions: number;
  readonly memory: MemoryBudget;
  /** Name of this process in leases. */
  readonly owner: string;
  readonly log: Logger;
}

/** The source role: captures every source that an active connection wants, and reads what jobs want,
 * as far as it holds leases. */
export function createSourceWorker(options: SourceWorkerOptions): Service {
  const { store, log } = options;
  const unitOf = (task: CaptureTask): LeasedUnit => ({
    unit: task.unit,
    version: task.version,
    run: (signal, held) => runTask(task, options, signal, held),
  });
  const keeper = new LeaseKeeper({
    store,
    owner: options.owner,
    ttlMs: 6_000,
    pollMs: 1_000,
    wanted: async () => {
      const { sources, reads } = await store.listWork();
      return [...sources.map(logTask), ...reads.map(readTask)].map(unitOf);
    },
    storeAway: (error) => log.warn({ err: error }, 'the store does not answer; capture goes on'),
    fencedByReplaced: (unit, error) =>
      log.warn(
        { err: error, unit },
        'fenced by an instance that was replaced; capture begins anew',
      ),
  });
  return { name: 'source', run: (signal) => keeper.run(signal) };
}

async function runTask(
  task: CaptureTask,
  options: SourceWorkerOptions,
  signal: AbortSignal,
  held: Held,
): Promise<void> {
  const runner = new SourceRunner({
    task,
    connector: await connectors.sources.load(task.connector),
    kafka: options.kafka,
    topicPrefix: options.topicPrefix,
    topicPartitions: options.topicPartitions,
    memory: options.memory,
    log: options.log,
  });
  const reports = new ReportLoop({
    report: () => options.store.saveReport(task.unit, options.owner, runner.status.report()),
    failed: (error) => options.log.debug({ err: error }, 'report not saved'),
  });
  try {
    await runner.run(signal, held);
  } finally {
    await reports.stop();
  }
}
