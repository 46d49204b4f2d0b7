import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isProcessAlive } from '../../core/run/process-alive.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { LeaseKeeper, type Held, type LeasedUnit } from '../../core/run/lease-keeper.ts';
import type { MemoryBudget } from '../../core/run/memory-budget.ts';
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
  readonly memory: MemoryBudget;
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
    run: (signal, held) => deliverConnection(work, options, signal, held),
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
      await clearScratchOfTheDead(options.home);
      await keeper.run(signal);
    },
  };
}

async function deliverConnection(
  work: ConnectionWork,
  options: SinkWorkerOptions,
  signal: AbortSignal,
  held: Held,
): Promise<void> {
  const unit = `connection:${work.connectionId}`;
  // Of this process alone: one that was stopped and wakes up clears away what it thinks is its own
  // while its successor is writing (torture seed 2).
  const scratchFolder = join(options.home, 'scratch', options.owner, work.connectionId);
  await mkdir(scratchFolder, { recursive: true });
  const runner = new SinkRunner({
    work,
    connector: await connectors.destinations.load(work.connector),
    kafka: options.kafka,
    topicPrefix: options.topicPrefix,
    scratchFolder,
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

/** Scratch files of processes on this machine that ended without clearing up. Their folders are named
 * for the owner of their leases, which ends in process id and a random part. */
async function clearScratchOfTheDead(home: string): Promise<void> {
  const folder = join(home, 'scratch');
  for (const owner of await readdir(folder).catch(() => [])) {
    const [, host, pid] = /^(.*)-(\d+)-[0-9a-f]{8}$/.exec(owner) ?? [];
    if (host !== hostname() || isProcessAlive(Number(pid))) continue;
    await rm(join(folder, owner), { recursive: true, force: true });
  }
}
