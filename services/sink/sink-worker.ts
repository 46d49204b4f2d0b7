import type { Logger } from '../../core/observe/logger.ts';
import { LeaseKeeper, type Held, type LeasedUnit } from '../../core/run/lease-keeper.ts';
import type { MemoryBudget } from '../../core/run/memory-budget.ts';
import { ReportLoop } from '../../core/run/report-loop.ts';
import type { Service } from '../../core/run/service.ts';
import type { ConnectionWork, WorkStore } from '../../core/store/work.ts';
import { connectors } from '../../connectors/registry.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { Scratch } from './scratch.ts';
import { SinkRunner } from './sink-runner.ts';

export interface SinkWorkerOptions {
  readonly store: WorkStore;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  /** HEADRACE_HOME; scratch files lie below it. */
  readonly home: string;
  readonly memory: MemoryBudget;
  /** Name of this process in leases. */
  readonly owner: string;
  readonly log: Logger;
}

/** The sink role: delivers every active connection, as far as it holds leases. */
export function createSinkWorker(options: SinkWorkerOptions): Service {
  const { store, log } = options;
  const scratch = new Scratch(options.home);
  const unitOf = (work: ConnectionWork): LeasedUnit => ({
    unit: `connection:${work.connectionId}`,
    version: work.version,
    run: (signal, held) => deliverConnection(work, { ...options, scratch }, signal, held),
  });
  const keeper = new LeaseKeeper({
    store,
    owner: options.owner,
    ttlMs: 6_000,
    pollMs: 1_000,
    wanted: async () => (await store.listWork()).connections.map(unitOf),
    storeAway: (error) => log.warn({ err: error }, 'the store does not answer; delivery goes on'),
    fencedByReplaced: (unit, error) =>
      log.warn(
        { err: error, unit },
        'fenced by an instance that was replaced; delivery begins anew',
      ),
  });
  return {
    name: 'sink',
    run: async (signal) => {
      await scratch.clearOfTheDead();
      try {
        await keeper.run(signal);
      } finally {
        await scratch.clearOwn();
      }
    },
  };
}

async function deliverConnection(
  work: ConnectionWork,
  options: SinkWorkerOptions & { readonly scratch: Scratch },
  signal: AbortSignal,
  held: Held,
): Promise<void> {
  const unit = `connection:${work.connectionId}`;
  // Whose connection is taken over may have died after our start.
  await options.scratch.clearOfTheDead();
  const runner = new SinkRunner({
    work,
    connector: await connectors.destinations.load(work.connector),
    kafka: options.kafka,
    topicPrefix: options.topicPrefix,
    scratchFolder: await options.scratch.folderOf(work.connectionId),
    memory: options.memory,
    log: options.log,
  });
  // Reports go on meanwhile: a destination that does not answer is when they are read.
  const flush = (): void =>
    void runner.flush().catch((error: unknown) => {
      options.log.warn({ err: error, connection: work.connectionId }, 'flush failed');
    });
  const ended = new Set<string>();
  const reports = new ReportLoop({
    report: async () => {
      await options.store.saveReport(unit, options.owner, runner.status.report());
      for (const stream of runner.status.replayed()) {
        const known = JSON.stringify(stream);
        if (ended.has(known)) continue;
        await options.store.endReplay(work.connectionId, stream);
        ended.add(known);
      }
      const commands = await options.store.takeCommands(unit);
      if (commands.some((command) => command.kind === 'flush')) flush();
    },
    failed: (error) => options.log.debug({ err: error }, 'report not saved'),
  });
  try {
    await runner.run(signal, held);
  } finally {
    await reports.stop();
  }
}
