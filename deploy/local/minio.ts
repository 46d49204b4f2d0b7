import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cacheFolder, fetchOnce, requireTool, runFetch, toolExists } from './cache.ts';
import { freePort } from './free-port.ts';
import { launch, type LocalServer } from './local-server.ts';

export const MINIO_ACCESS_KEY = 'headrace';
export const MINIO_SECRET_KEY = 'headrace-secret';

export interface MinioOptions {
  readonly folder: string;
  readonly port?: number;
  /** Default `headrace` and `headrace-secret`. */
  readonly accessKey?: string;
  readonly secretKey?: string;
}

/** An S3 server with no buckets. A `minio` on the PATH is used; else Go builds one, once. */
export async function startMinio(options: MinioOptions): Promise<LocalServer> {
  const program = await minioProgram();
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const folder = resolve(options.folder);
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true });
  return launch({
    name: 'minio',
    port,
    folder,
    url,
    command: [program, 'server', data, '--address', `127.0.0.1:${port}`, '--quiet'],
    environment: {
      HOME: folder,
      MINIO_ROOT_USER: options.accessKey ?? MINIO_ACCESS_KEY,
      MINIO_ROOT_PASSWORD: options.secretKey ?? MINIO_SECRET_KEY,
      MINIO_BROWSER: 'off',
      // Asks the internet for news at every start otherwise.
      MINIO_UPDATE: 'off',
    },
    stopSignal: 'SIGTERM',
    ready: async () => {
      const answer = await fetch(`${url}/minio/health/ready`).catch(() => null);
      await answer?.arrayBuffer();
      return answer?.ok === true;
    },
  });
}

/** The path of the server program, built into the cache when it is not there yet. */
export async function minioProgram(): Promise<string> {
  const program = join(cacheFolder(), 'bin', 'minio');
  if (!existsSync(program) && toolExists('minio')) return 'minio';
  return fetchOnce(program, async () => {
    const without =
      'put a minio program on the PATH, or use an S3 endpoint that runs elsewhere; Kafka and Postgres work.';
    requireTool('go', 'to build MinIO once', without);
    const draft = join(cacheFolder(), 'minio.draft');
    await runFetch(
      'building MinIO (about three minutes, once)',
      ['go', 'install', 'github.com/minio/minio@latest'],
      { environment: { GOBIN: draft, GOFLAGS: '' } },
    );
    renameSync(join(draft, 'minio'), program);
  });
}
