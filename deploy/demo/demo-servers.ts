import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../local/free-port.ts';
import { startHeadrace, type HeadraceProcess } from '../local/headrace.ts';
import { startKafka } from '../local/kafka.ts';
import { readServerRecord, STOP_TIMEOUT_MS, type LocalServer } from '../local/local-server.ts';
import { startMinio } from '../local/minio.ts';
import { startPostgres } from '../local/postgres.ts';
import { endProcess, identify, type OwnProcess } from '../local/process.ts';

/** Four real servers and Headrace, all processes of their own under one folder. */
export interface DemoServers {
  readonly kafka: LocalServer;
  readonly minio: LocalServer;
  readonly source: LocalServer;
  readonly target: LocalServer;
}

export interface Demo {
  readonly servers: DemoServers;
  readonly headrace: HeadraceProcess;
}

const SERVER_FOLDERS = ['kafka', 'minio', 'source', 'target'] as const;

export async function startServers(folder: string): Promise<DemoServers> {
  const [kafka, minio, source, target] = await Promise.all([
    startKafka({ folder: join(folder, 'kafka') }),
    startMinio({ folder: join(folder, 'minio') }),
    startPostgres({ folder: join(folder, 'source') }),
    startPostgres({ folder: join(folder, 'target') }),
  ]);
  return { kafka, minio, source, target };
}

export async function startProgram(folder: string, kafka: LocalServer): Promise<HeadraceProcess> {
  const headrace = await startHeadrace({
    home: join(folder, 'home'),
    apiPort: await freePort(),
    brokers: `127.0.0.1:${kafka.port}`,
  });
  writeFileSync(programRecord(folder), JSON.stringify(identify(headrace.pid)));
  return headrace;
}

/** Ends whatever a demo left in the folder, this one's or an earlier one's, and Headrace first: it
 * would only log that its servers go away. */
export async function endDemo(folder: string): Promise<void> {
  const program = readProgram(folder);
  if (program !== null) await endProcess(program, 'SIGTERM', STOP_TIMEOUT_MS);
  await Promise.all(
    SERVER_FOLDERS.map(async (name) => {
      const record = readServerRecord(join(folder, name));
      if (record !== null) await endProcess(record.process, record.stopSignal, STOP_TIMEOUT_MS);
    }),
  );
}

/** An empty folder, after ending what an earlier demo kept running in it. */
export async function makeFolder(folder: string): Promise<void> {
  await endDemo(folder);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

function programRecord(folder: string): string {
  return join(folder, 'headrace.json');
}

function readProgram(folder: string): OwnProcess | null {
  try {
    return JSON.parse(readFileSync(programRecord(folder), 'utf8')) as OwnProcess;
  } catch {
    // No demo has come as far as starting it.
    return null;
  }
}
