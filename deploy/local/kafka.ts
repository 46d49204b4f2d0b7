import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  cacheFolder,
  fetchOnce,
  reportProgress,
  requireTool,
  runFetch,
  runQuietly,
} from './cache.ts';
import { freePort } from './free-port.ts';
import { launch, type LaunchPlan, type LocalServer } from './local-server.ts';

const KAFKA_VERSION = '4.3.1';
const STARTED = 'Kafka Server started';

export interface KafkaOptions {
  readonly folder: string;
  readonly port?: number;
  /** Broker properties that replace or add to the defaults below. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A broker's place among several that are all controllers too. */
interface Member {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly controllerPorts: readonly number[];
}

/** One broker that is its own controller. Fetches Apache Kafka by Maven the first time. */
export async function startKafka(options: KafkaOptions): Promise<LocalServer> {
  const home = await kafkaHome();
  return launch(await kafkaPlan(options, home, classArchive(home), await aloneMember()));
}

async function aloneMember(): Promise<Member> {
  return { nodeId: 1, clusterId: clusterId(), controllerPorts: [await freePort()] };
}

/** Brokers 1 to `count`, each in a folder of its own below `folder`: what is written is on three of
 * them, and acknowledged by two. Any one may die. */
export async function startKafkaCluster(
  options: Omit<KafkaOptions, 'port'> & { readonly count: number },
): Promise<LocalServer[]> {
  const home = await kafkaHome();
  const { folder, count, settings } = options;
  const cluster = clusterId();
  const controllerPorts: number[] = [];
  for (let i = 0; i < count; i++) controllerPorts.push(await freePort());
  const plans: LaunchPlan[] = [];
  for (let nodeId = 1; nodeId <= count; nodeId++) {
    const member = { nodeId, clusterId: cluster, controllerPorts };
    const place = { folder: join(folder, `broker-${nodeId}`), settings: settings ?? {} };
    plans.push(await kafkaPlan(place, home, classArchive(home), member));
  }
  return Promise.all(plans.map((plan) => launch(plan)));
}

/** Writes the configuration, and formats the folder when it is new. */
async function kafkaPlan(
  options: KafkaOptions,
  home: string,
  jvmOptions: readonly string[],
  member: Member,
): Promise<LaunchPlan> {
  const folder = resolve(options.folder);
  const port = options.port ?? (await freePort());
  mkdirSync(folder, { recursive: true });
  const properties = join(folder, 'server.properties');
  const settings = { ...brokerSettings(folder, port, member), ...options.settings };
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  writeFileSync(properties, `${lines.join('\n')}\n`);
  const java = javaCommand(home, jvmOptions);
  if (!existsSync(join(folder, 'data', 'meta.properties'))) {
    const format = ['kafka.tools.StorageTool', 'format', '-t', member.clusterId, '-c', properties];
    await runQuietly('formatting the Kafka data folder', [...java, ...format], environment());
  }
  return {
    name: 'kafka',
    port,
    folder,
    url: `127.0.0.1:${port}`,
    command: [...java, 'kafka.Kafka', properties],
    environment: environment(),
    stopSignal: 'SIGTERM',
    ready: ({ log }) => log.includes(STARTED),
  };
}

/** JAVA_TOOL_OPTIONS and the like are left out: they change what the class archive is valid for. */
function environment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', TZ: 'UTC' };
}

/**
 * Loopback only. The four session and quorum times bring a restart after SIGKILL from 13 s to 4 s:
 * the broker waits until its own earlier registration has timed out.
 */
function brokerSettings(folder: string, port: number, member: Member) {
  const { nodeId, controllerPorts } = member;
  const controllerPort = controllerPorts[nodeId - 1];
  const replicas = String(Math.min(3, controllerPorts.length));
  const inSync = String(Math.min(2, controllerPorts.length));
  return {
    'process.roles': 'broker,controller',
    'node.id': String(nodeId),
    'controller.quorum.voters': controllerPorts
      .map((each, index) => `${index + 1}@127.0.0.1:${each}`)
      .join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': join(folder, 'data'),
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': '4',
    'transaction.max.timeout.ms': '900000',
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'group.initial.rebalance.delay.ms': '0',
    'auto.create.topics.enable': 'false',
    'log.cleaner.dedupe.buffer.size': '16777216',
    'broker.session.timeout.ms': '1500',
    'broker.heartbeat.interval.ms': '300',
    'controller.quorum.election.timeout.ms': '500',
    'controller.quorum.fetch.timeout.ms': '1000',
  };
}

/** A UUID in base64url. One that begins with '-' would be read as an option by the format tool. */
function clusterId(): string {
  for (;;) {
    const id = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

function javaCommand(home: string, jvmOptions: readonly string[]): [string, ...string[]] {
  const libs = join(home, 'libs');
  const jars = readdirSync(libs).filter((name) => name.endsWith('.jar'));
  // Sorted, not 'libs/*': a class data archive is valid for one exact class path only.
  const classPath = jars.toSorted().map((name) => join(libs, name));
  return [
    'java',
    '-Xms64m',
    '-Xmx512m',
    '-XX:+UseSerialGC',
    ...jvmOptions,
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
    '-cp',
    classPath.join(':'),
  ];
}

function classArchive(home: string): string[] {
  const archive = join(home, 'classes.jsa');
  return existsSync(archive) ? [`-XX:SharedArchiveFile=${archive}`, '-Xlog:cds=off'] : [];
}

/** The folder with Kafka's jars and, where the Java at hand can make one, its class data archive. */
export async function kafkaHome(): Promise<string> {
  const without = 'set HEADRACE_KAFKA_BROKERS to a Kafka that runs elsewhere; all else works.';
  requireTool('java', `to run Apache Kafka ${KAFKA_VERSION} (Java 17 or newer)`, without);
  const home = join(cacheFolder(), `kafka-${KAFKA_VERSION}`);
  return fetchOnce(home, async () => {
    requireTool('mvn', `to fetch Apache Kafka ${KAFKA_VERSION} once`, without);
    const draft = `${home}.draft`;
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { recursive: true });
    writeFileSync(join(draft, 'pom.xml'), POM);
    await runFetch(
      `fetching Apache Kafka ${KAFKA_VERSION} (54 MB)`,
      [
        'mvn',
        '-q',
        '-B',
        'dependency:copy-dependencies',
        '-DoutputDirectory=libs',
        '-DincludeScope=runtime',
      ],
      { cwd: draft },
    );
    renameSync(draft, home);
    await recordClasses(home);
  });
}

/**
 * Runs the broker once and keeps the classes it loads in an archive, which halves later starts.
 * Only a convenience: when the Java at hand cannot do it, starts are slower and nothing else.
 */
async function recordClasses(home: string): Promise<void> {
  const folder = `${home}.training`;
  const archive = join(home, 'classes.jsa');
  reportProgress('preparing fast starts of Kafka ...');
  try {
    const plan = await kafkaPlan({ folder }, home, [], await aloneMember());
    const [java, ...args] = plan.command;
    const draft = `${archive}.draft`;
    const server = await launch({
      ...plan,
      command: [java, `-XX:ArchiveClassesAtExit=${draft}`, ...args],
    });
    await server.stop();
    renameSync(draft, archive);
  } catch (error) {
    reportProgress(`fast starts of Kafka are not available: ${(error as Error).message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;
