import { randomUUID } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { loadSettings, type Settings } from '../../core/config/settings.ts';
import { secretsLieInClear } from '../../core/config/secrets-at-rest.ts';
import { keepToMemoryLimit } from '../../core/config/memory-limit.ts';
import type { ResourceGroup } from '../../core/config/resources.ts';
import { createLogger, type Logger } from '../../core/observe/logger.ts';
import { LogTail } from '../../core/observe/log-tail.ts';
import { collectProcessMetrics } from '../../core/observe/metrics.ts';
import { armedFailpoints, armFailpoints } from '../../core/run/failpoints.ts';
import { MemoryBudget } from '../../core/run/memory-budget.ts';
import { runServices, type Service } from '../../core/run/service.ts';
import { openStore, type Store } from '../../core/store/store.ts';
import { OutgoingRules } from '../../core/net/outgoing-rules.ts';
import { connectors } from '../../connectors/registry.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { streamTopic } from '../../topics/naming.ts';
import { createAlerts } from '../alerts/alerts.ts';
import { apiService } from '../api/api.ts';
import { createHealthServer } from '../api/health-server.ts';
import { jobPolicy } from '../scheduler/job-policy.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { createSinkWorker } from '../sink/sink-worker.ts';
import { openKafka } from './kafka.ts';
import { watchMemoryDeaths } from './memory-deaths.ts';
import { createSourceWorker } from '../source/source-worker.ts';
import { verifyConnection } from '../verify/verify-connection.ts';

/** What the roles of one process share. */
interface Program {
  readonly settings: Settings;
  readonly log: Logger;
  readonly logs: LogTail;
  readonly store: Store;
  readonly kafka: KafkaClient;
  readonly memory: MemoryBudget;
  /** Name of this process in leases: never the same twice. */
  readonly owner: string;
}

type Role = 'source' | 'sink' | 'scheduler' | 'alerts' | 'api';

const ROLES: Record<Role, { readonly says: string; make(program: Program): Service }> = {
  source: { says: 'read sources into Kafka', make: sourceService },
  sink: { says: 'deliver topics to destinations', make: sinkService },
  scheduler: { says: 'run sync jobs and schedules', make: schedulerService },
  alerts: { says: 'tell Slack and webhooks of what needs attention', make: alertsService },
  api: { says: "serve the API in Airbyte's shape and the schema registry", make: makeApi },
};

/** `headrace up`, one command per role, and the demo. */
export function addRoleCommands(program: Command): void {
  program
    .command('up')
    .description('run all services in this process')
    .action(() => run('up', Object.keys(ROLES) as Role[]));
  for (const [role, { says }] of Object.entries(ROLES) as [Role, { says: string }][]) {
    program
      .command(role)
      .description(`run this service alone: ${says}`)
      .action(() => run(role, [role]));
  }
  program
    .command('demo')
    .description('copy real data between real servers on this machine, change it, compare')
    .option('--keep', 'leave everything running at the end')
    .option('--seconds <n>', 'how long the demo application writes', Number, 15)
    .action(async (options: { keep?: boolean; seconds: number }) => {
      const { home } = loadSettings(process.env);
      // Its data and its Parquet reader are development packages, which an image does not have.
      const { runDemo } = await import('../../deploy/demo/demo.ts');
      const equal = await runDemo({ home, keep: options.keep === true, seconds: options.seconds });
      process.exit(equal ? 0 : 1);
    });
}

/** Whose memory a role's process uses. */
function groupOf(role: Role): ResourceGroup {
  if (role === 'source') return 'source';
  return role === 'sink' ? 'destination' : 'orchestrator';
}

async function run(name: string, roles: readonly Role[]): Promise<void> {
  keepToMemoryLimit(roles.map(groupOf));
  const settings = loadSettings(process.env);
  const logs = new LogTail();
  const log = createLogger({ level: settings.logLevel, service: name, destination: logs });
  armFailpoints(settings);
  if (armedFailpoints().length > 0) log.warn({ failpoints: armedFailpoints() }, 'failpoints armed');
  collectProcessMetrics();
  if (secretsLieInClear(settings)) {
    log.warn('HEADRACE_SECRET_KEY is not set: passwords of connectors lie in the store in clear');
  }
  const store = await openStore(settings);
  const kafka = await openKafka(settings, (line) => log.info({ stack: 'kafka' }, line));
  let cleanEnd = (): void => undefined;
  try {
    const owner = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
    const memory = MemoryBudget.ofProcess(settings.memoryMb);
    cleanEnd = await watchMemoryDeaths(settings.home, owner, { store, log });
    const program: Program = { settings, log, logs, store, kafka, memory, owner };
    const services = roles.map((role) => ROLES[role].make(program));
    if (!roles.includes('api')) services.push(healthService(program));
    // Now, not only at a clean end: a process that is killed would leave none for the next start.
    flushCompileCache();
    await runServices({ services, logger: log });
  } finally {
    cleanEnd();
    await kafka.close();
    await store.close();
  }
  // Everything is drained. Clients' idle sockets would keep the process for their keep-alive time.
  process.exit(0);
}

function sourceService({ settings, log, store, kafka, memory, owner }: Program): Service {
  return createSourceWorker({
    store: store.work,
    kafka,
    topicPrefix: settings.topicPrefix,
    topicPartitions: settings.topicPartitions,
    memory,
    owner,
    log: log.child({ role: 'source' }),
  });
}

function sinkService({ settings, log, store, kafka, memory, owner }: Program): Service {
  return createSinkWorker({
    store: store.work,
    kafka,
    topicPrefix: settings.topicPrefix,
    home: settings.home,
    memory,
    owner,
    log: log.child({ role: 'sink' }),
  });
}

function schedulerService({ settings, log, store, kafka, owner }: Program): Service {
  return createScheduler({
    store,
    connectors,
    owner,
    policy: jobPolicy(settings),
    schemaLookMs: settings.schemaLookSeconds * 1000,
    rules: new OutgoingRules(settings.outgoingAllow),
    dbt: { command: settings.dbtCommand, projects: settings.dbtProjects },
    endOffsets: (topics) => kafka.endOffsets(topics),
    logger: log.child({ role: 'scheduler' }),
  });
}

function alertsService({ settings, log, store, owner }: Program): Service {
  return createAlerts({
    store,
    connectors,
    rules: new OutgoingRules(settings.outgoingAllow),
    owner,
    webUrl: settings.webUrl,
    logger: log.child({ role: 'alerts' }),
  });
}

function makeApi({ settings, log, logs, store, kafka }: Program): Service {
  return apiService({
    settings,
    store,
    connectors,
    logs,
    rules: new OutgoingRules(settings.outgoingAllow),
    ...(kafka.schemaLog === null ? {} : { registry: kafka.schemaLog }),
    async endOf(stream) {
      const topic = streamTopic(settings.topicPrefix, stream.topicOwner, stream);
      return Math.max(0, ...(await kafka.endOffsets([topic])).values());
    },
    verify: (connectionId) =>
      verifyConnection({ ...settings, work: store.work, connectors, kafka }, connectionId),
    logger: log.child({ role: 'api' }),
  });
}

function healthService({ settings, log, store }: Program): Service {
  const { tokens } = store;
  return createHealthServer({
    settings: { ...settings, webPort: 0 },
    logger: log,
    tokens,
    ready: () => store.ping(),
  });
}
