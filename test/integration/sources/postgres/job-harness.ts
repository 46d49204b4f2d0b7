import { source as postgres } from '../../../../connectors/sources/postgres/source.ts';
import type {
  ReadStreamOptions,
  Source,
  SourceReader,
  SourceState,
} from '../../../../connectors/spi/source.ts';
import { Registry, Run } from './capture-harness.ts';
import { buffersOf } from '../../../support/buffers.ts';

export interface JobRunOptions {
  readonly job: string;
  readonly streams: readonly (Partial<ReadStreamOptions> & { readonly name: string })[];
  readonly state?: SourceState | null;
  readonly registry?: Registry;
  readonly maxTransactionMs?: number;
}

/** Where the tables are that a job reads. */
export interface JobOrigin {
  readonly source: Source;
  readonly namespace: string;
}

/** What a job reads; `finished` resolves at its end. */
export async function openJobRun(
  config: Record<string, unknown>,
  options: JobRunOptions,
  { source, namespace }: JobOrigin = { source: postgres, namespace: 'public' },
): Promise<Run> {
  const registry = options.registry ?? new Registry();
  const { state = null, job, maxTransactionMs = 60_000 } = options;
  const streams = options.streams.map(({ name, ...rest }): ReadStreamOptions => ({
    stream: { namespace, name },
    syncMode: 'full_refresh',
    cursor: null,
    key: [],
    ...rest,
  }));
  const reader = await source.read?.({
    serverName: 'headrace.test',
    config,
    streams,
    job,
    state,
    registerSchema: registry.register,
    maxRecordBytes: 8 * 1024 * 1024,
    buffers: buffersOf(16 * 1024 * 1024),
    maxTransactionMs,
    signal: new AbortController().signal,
  });
  return new Run(reader as SourceReader, { streams: [], state }, registry);
}
