import { source } from '../../connectors/sources/mysql/source.ts';
import type { SourceState } from '../../connectors/spi/source.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { DATABASE, mysqlConfig } from '../integration/sources/mysql/mysql-harness.ts';
import { Run } from '../integration/sources/postgres/capture-harness.ts';

/** What one process reads: `node mysql-log-reading.ts ours|peer <this as JSON>`. */
export interface LogReading {
  readonly port: number;
  readonly changes: number;
  readonly file: string;
  readonly offset: number;
  readonly state: SourceState | null;
}

export interface ReadingFigures {
  /** Row changes that were seen: all of them, or the figures are worth nothing. */
  readonly changes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly perSecond: number;
  readonly cpuMicrosPerChange: number;
}

/** Without encryption, as the peer. */
async function ours({ port, changes, state }: LogReading): Promise<number> {
  const server = { host: '127.0.0.1', port } as LocalServer;
  const run = await Run.open(
    { ...mysqlConfig(server), ssl_mode: { mode: 'disabled' } },
    {
      source,
      streams: [{ namespace: DATABASE, name: 'orders' }],
      decode: false,
      maxBufferedBytes: 64 * 1024 * 1024,
      state,
    },
  );
  await run.until(() => run.total >= changes, 'the changes');
  await run.close();
  return run.total;
}

interface PeerEvent {
  readonly rows?: readonly unknown[];
}

interface Peer {
  on(event: 'binlog', handler: (event: PeerEvent) => void): void;
  on(event: 'error', handler: (error: Error) => void): void;
  start(options: Record<string, unknown>): void;
  stop(): void;
}

async function peer({ port, changes, file, offset }: LogReading): Promise<number> {
  // A name that the compiler does not look up: the package is installed for comparisons only.
  const name: string = '@vlasky/zongji';
  const { default: ZongJi } = (await import(name)) as { default: new (options: object) => Peer };
  const reader = new ZongJi({ host: '127.0.0.1', port, user: 'root', dateStrings: true });
  let rows = 0;
  await new Promise<void>((resolve, reject) => {
    reader.on('error', reject);
    reader.on('binlog', (event) => {
      rows += event.rows?.length ?? 0;
      if (rows >= changes) resolve();
    });
    reader.start({
      serverId: 4_000_000_001,
      filename: file,
      position: offset,
      includeEvents: ['tablemap', 'writerows', 'updaterows', 'deleterows', 'rotate'],
      includeSchema: { [DATABASE]: ['orders'] },
    });
  });
  reader.stop();
  return rows;
}

const [who, text = ''] = process.argv.slice(2);
if (who !== undefined) {
  const reading = JSON.parse(text) as LogReading;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const changes = await (who === 'ours' ? ours(reading) : peer(reading));
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  const cpuMicros = used.user + used.system;
  const figures: ReadingFigures = {
    changes,
    seconds: Math.round(seconds * 1000) / 1000,
    cpuSeconds: Math.round(cpuMicros / 1000) / 1000,
    perSecond: Math.round(changes / seconds),
    cpuMicrosPerChange: Math.round((cpuMicros / changes) * 100) / 100,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  process.exit(0);
}
