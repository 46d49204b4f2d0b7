import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../deploy/local/free-port.ts';
import { launch, type LocalServer } from '../../../deploy/local/local-server.ts';
import { identify, sendSignal } from '../../../deploy/local/process.ts';
import { worker, type Properties, type Tuning } from './connector-settings.ts';
import { CONNECT_JAVA, connectJars } from './jars.ts';

export interface ConnectPlan {
  readonly kafka: LocalServer;
  readonly tuning: Tuning;
  readonly converters: Properties;
  readonly connectors: readonly Properties[];
}

/** Kafka Connect with its connectors, standalone: one process for one run. */
export interface ConnectProcess extends AsyncDisposable {
  readonly pid: number;
  /** Epoch milliseconds of the process's start. */
  readonly startedAt: number;
  /** Throws when a task has failed: it would be waited for in vain. */
  check(): void;
}

const FAILED =
  /Task threw an uncaught.*|.*is being killed and will not recover.*|.*Failed to create connector.*/;

export async function startConnect(plan: ConnectPlan): Promise<ConnectProcess> {
  const { libs, plugins } = await connectJars();
  const folder = mkdtempSync(join(tmpdir(), 'headrace-connect-'));
  const port = await freePort();
  const place = { kafka: plan.kafka, port, plugins, offsetsFile: join(folder, 'offsets') };
  const files = [worker(place, plan.tuning, plan.converters), ...plan.connectors].map(
    (properties, index) => {
      const file = join(folder, `${index}.properties`);
      const lines = Object.entries(properties).map(([name, value]) => `${name}=${value}`);
      writeFileSync(file, `${lines.join('\n')}\n`);
      return file;
    },
  );
  const startedAt = Date.now();
  const server = await launch({
    name: 'connect',
    port,
    folder,
    url: `http://127.0.0.1:${port}`,
    command: [CONNECT_JAVA, ...plan.tuning.jvm, ...LOGGING, '-cp', join(libs, '*'), MAIN, ...files],
    environment: { PATH: process.env['PATH'] ?? '', TZ: 'UTC' },
    stopSignal: 'SIGTERM',
    ready: ({ log }) => log.includes('Kafka Connect started'),
  });
  const started = identify(server.pid);
  const killAtExit = (): void => sendSignal(started, 'SIGKILL');
  let nextLook = 0;
  process.once('exit', killAtExit);
  return {
    pid: server.pid,
    startedAt,
    check() {
      if (Date.now() < nextLook) return;
      nextLook = Date.now() + 1_000;
      const failure = FAILED.exec(readFileSync(join(folder, 'connect.log'), 'utf8'));
      if (failure !== null) throw new Error(`Kafka Connect: ${failure[0]} (see ${folder})`);
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      process.removeListener('exit', killAtExit);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const MAIN = 'org.apache.kafka.connect.cli.ConnectStandalone';
const LOGGING = ['-Dorg.slf4j.simpleLogger.log.org.reflections=error'];
