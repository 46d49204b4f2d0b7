import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionReport, SourceReport } from '../../core/store/work.ts';
import type { ApiClient } from '../local/api-client.ts';
import type { Connections } from './pipeline.ts';

interface Status {
  readonly sourceReport?: SourceReport;
  readonly connectionReport?: ConnectionReport;
}

interface JobInfo {
  readonly job: { readonly id: number; readonly status: string };
  readonly attempts: readonly { attempt: { failureSummary?: unknown } }[];
}

const TICK_MS = 500;
const SNAPSHOT_TIMEOUT_MS = 180_000;

/** Shows the first copy's progress until every stream is streamed. */
export async function watchSnapshot(
  api: ApiClient,
  connections: Connections,
  loaded: ReadonlyMap<string, number>,
): Promise<void> {
  const total = [...loaded.values()].reduce((sum, rows) => sum + rows, 0);
  const deadline = Date.now() + SNAPSHOT_TIMEOUT_MS;
  for (;;) {
    const { sourceReport } = await status(api, connections.postgres);
    const streams = sourceReport?.streams ?? [];
    const done = streams.reduce((sum, stream) => sum + stream.rowsDone, 0);
    const estimate = streams.reduce((sum, stream) => sum + (stream.rowsEstimate ?? 0), 0);
    line(
      `snapshot: ${done} of about ${estimate || total} rows read, ${sourceReport?.phase ?? 'starting'}`,
    );
    const stopped = streams.find((stream) => stream.error !== undefined);
    if (stopped !== undefined) throw new Error(`${stopped.name}: ${stopped.error?.message}`);
    if (streams.length > 0 && streams.every((stream) => stream.phase === 'streaming')) break;
    if (Date.now() > deadline) throw new Error('the snapshot has not ended in time');
    await delay(TICK_MS);
  }
  process.stdout.write('\n');
}

/** Shows the tables filling until the first copy is in them: what is measured afterwards is the
 * stream, not the end of the copy. */
export async function watchFirstCopy(api: ApiClient, connections: Connections): Promise<void> {
  for (;;) {
    const postgres = await status(api, connections.postgres);
    line(`first copy: ${delivered(postgres)} rows in Postgres, ${behind(postgres)} to go`);
    if (delivered(postgres) > 0 && behind(postgres) === 0) break;
    await delay(TICK_MS);
  }
  process.stdout.write('\n');
}

/** Shows lag and counts while the application writes. */
export async function watchLive(
  api: ApiClient,
  connections: Connections,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const [postgres, parquet] = await Promise.all([
      status(api, connections.postgres),
      status(api, connections.parquet),
    ]);
    line(
      `captured ${postgres.sourceReport?.records ?? 0} events, source lag ${postgres.sourceReport?.lagBytes ?? 0} bytes` +
        ` | Postgres ${delivered(postgres)}, behind ${behind(postgres)}` +
        ` | Parquet ${delivered(parquet)}, behind ${behind(parquet)}`,
    );
    await delay(TICK_MS);
  }
  process.stdout.write('\n');
}

/** Asks for a sync of both connections: it succeeds when all that was committed is durable there. */
export async function watchBarrier(api: ApiClient, connections: Connections): Promise<void> {
  const jobs = await Promise.all(
    Object.values(connections).map((connectionId: string) =>
      api.call<JobInfo>('connections/sync', { connectionId }),
    ),
  );
  for (const { job } of jobs) {
    for (;;) {
      const now = await api.quiet<JobInfo>('jobs/get', { id: job.id });
      if (now.job.status === 'succeeded') break;
      if (now.job.status === 'failed' || now.job.status === 'cancelled') {
        throw new Error(`job ${job.id} ${now.job.status}: ${JSON.stringify(now.attempts)}`);
      }
      await delay(TICK_MS);
    }
  }
}

function status(api: ApiClient, connectionId: string): Promise<Status> {
  return api.quiet<Status>('connections/status', { connectionId });
}

function delivered(state: Status): number {
  return (state.connectionReport?.streams ?? []).reduce((sum, s) => sum + s.records, 0);
}

function behind(state: Status): number {
  return (state.connectionReport?.partitions ?? []).reduce((sum, p) => sum + p.end - p.durable, 0);
}

function line(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001b[2K  ${text}`);
  else process.stdout.write(`  ${text}\n`);
}
