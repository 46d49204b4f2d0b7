import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, fetchOnce, requireTool, runFetch } from '../../../deploy/local/cache.ts';
import { kafkaHome } from '../../../deploy/local/kafka.ts';

/** The newest of each that Maven resolves completely; the sink's own Hibernate 7.2.6 does not. */
export const PEER_VERSIONS = {
  debeziumSource: '3.7.0.Final',
  debeziumSink: '3.6.0.Final',
  hibernate: '7.2.19.Final',
  apicurioConverter: '2.6.13.Final',
} as const;

/** The Java that runs Kafka Connect: another one than the broker's by BENCH_JAVA. */
export const CONNECT_JAVA = process.env['BENCH_JAVA'] || 'java';

export interface ConnectJars {
  /** Folder of Kafka's own jars, Connect's runtime among them. */
  readonly libs: string;
  /** One folder per plugin: source, sink, converter. */
  readonly plugins: string;
}

/** Kafka Connect and the connectors, fetched by Maven the first time into the cache of the local stack. */
export async function connectJars(): Promise<ConnectJars> {
  const libs = join(await kafkaHome(), 'libs');
  const { debeziumSource, debeziumSink } = PEER_VERSIONS;
  const plugins = join(cacheFolder(), `debezium-${debeziumSource}-${debeziumSink}`);
  await fetchOnce(plugins, async () => {
    requireTool('mvn', 'to fetch Debezium once', 'all but `npm run bench -- peer` works.');
    const draft = `${plugins}.draft`;
    rmSync(draft, { recursive: true, force: true });
    for (const plugin of PLUGINS) await fetchPlugin(draft, plugin);
    await writeManifests(libs, join(draft, 'converter'));
    renameSync(draft, plugins);
  });
  return { libs, plugins };
}

interface Plugin {
  readonly folder: string;
  readonly dependencies: string;
  /** Artifacts that Connect has itself, which a plugin must not bring again, or that nothing here needs. */
  readonly without: readonly string[];
}

const OF_CONNECT = 'connect-api,connect-json,kafka-clients,slf4j-api,lz4-java,snappy-java,zstd-jni';
const JACKSON = 'jackson-core,jackson-databind,jackson-annotations,jakarta.ws.rs-api';
const OTHER_DRIVERS = 'mariadb-java-client,mssql-jdbc,mysql-connector-j,ojdbc11';

const PLUGINS: readonly Plugin[] = [
  {
    folder: 'source',
    dependencies: artifact(
      'io.debezium',
      'debezium-connector-postgres',
      PEER_VERSIONS.debeziumSource,
    ),
    without: [OF_CONNECT, JACKSON],
  },
  {
    folder: 'sink',
    // The excluded artifact only says that it has moved to the last one, and is not served.
    dependencies:
      artifact('io.debezium', 'debezium-connector-jdbc', PEER_VERSIONS.debeziumSink, {
        exclude: ['org.hibernate', 'hibernate-agroal'],
      }) +
      artifact('org.hibernate.orm', 'hibernate-core', PEER_VERSIONS.hibernate) +
      artifact('org.hibernate.orm', 'hibernate-agroal', PEER_VERSIONS.hibernate),
    without: [OF_CONNECT, JACKSON, OTHER_DRIVERS],
  },
  {
    folder: 'converter',
    dependencies: artifact(
      'io.apicurio',
      'apicurio-registry-utils-converter',
      PEER_VERSIONS.apicurioConverter,
    ),
    without: [OF_CONNECT],
  },
];

function artifact(
  group: string,
  name: string,
  version: string,
  { exclude }: { readonly exclude?: readonly [group: string, name: string] } = {},
): string {
  const id = ([g, n]: readonly [string, string]): string =>
    `<groupId>${g}</groupId><artifactId>${n}</artifactId>`;
  const exclusions =
    exclude === undefined ? '' : `<exclusions><exclusion>${id(exclude)}</exclusion></exclusions>`;
  return `<dependency>${id([group, name])}<version>${version}</version>${exclusions}</dependency>`;
}

async function fetchPlugin(draft: string, plugin: Plugin): Promise<void> {
  const folder = join(draft, plugin.folder);
  const project = join(draft, `${plugin.folder}-project`);
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, 'pom.xml'), pom(plugin));
  await runFetch(
    `fetching ${plugin.folder} of the peer`,
    [
      'mvn',
      '-q',
      '-B',
      'dependency:copy-dependencies',
      `-DoutputDirectory=${folder}`,
      '-DincludeScope=runtime',
      `-DexcludeArtifactIds=${plugin.without.join(',')}`,
    ],
    { cwd: project },
  );
  rmSync(project, { recursive: true });
}

/** The parents of these artifacts name a second repository, which nothing here needs: it is switched off. */
function pom({ folder, dependencies }: Plugin): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId>
  <artifactId>peer-${folder}</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>${dependencies}</dependencies>
  <repositories>
    <repository>
      <id>confluent</id>
      <url>file:./none</url>
      <releases><enabled>false</enabled></releases>
      <snapshots><enabled>false</enabled></snapshots>
    </repository>
  </repositories>
</project>
`;
}

/** The converter does not say in the jar what it offers; Kafka's own tool adds that. Otherwise Connect
 * would have to search all classes at every start, for 10 to 20 seconds. */
async function writeManifests(libs: string, folder: string): Promise<void> {
  const tool = 'org.apache.kafka.tools.ConnectPluginPath';
  await runFetch('describing the converter', [
    'java',
    '-cp',
    join(libs, '*'),
    tool,
    'sync-manifests',
    '--plugin-location',
    folder,
  ]);
}
