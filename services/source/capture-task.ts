import { jobPosition, type ReadWork, type SourceWork } from '../../core/store/work.ts';
import type {
  Source,
  SourceOpenOptions,
  SourceReader,
  SourceStreamOptions,
} from '../../connectors/spi/source.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { TopicRegistrar } from './topic-registrar.ts';

/** What every reader is opened with. */
export type CommonOptions = Omit<SourceOpenOptions, 'sourceId' | 'streams'>;

/** Something to be moved from a source to Kafka by one runner. */
export interface CaptureTask {
  /** Under which its lease and its reports lie. */
  readonly unit: string;
  /** Under which its position lies in Kafka, and its transactions are fenced. */
  readonly id: string;
  /** In its topics' names, and of the source in its events. */
  readonly owner: string;
  readonly connector: string;
  readonly config: Record<string, unknown>;
  readonly version: string;
  /** A task that ends is read once and rests; the other goes on for ever. */
  readonly ends: boolean;
  open(source: Source, common: CommonOptions, registrar: TopicRegistrar): Promise<SourceReader>;
}

/** A source's log, for all connections that want streams of it. */
export function logTask(work: SourceWork): CaptureTask {
  const { sourceId, sourceName, connector, config, version } = work;
  return {
    unit: `source:${sourceId}`,
    id: sourceId,
    owner: sourceName,
    connector,
    config,
    version,
    ends: false,
    open: async (source, common, registrar) =>
      source.open({ ...common, sourceId, streams: await logStreams(work, registrar) }),
  };
}

function logStreams(work: SourceWork, registrar: TopicRegistrar): Promise<SourceStreamOptions[]> {
  return Promise.all(
    work.streams.map(async ({ namespace, name, copy }) => ({
      stream: { namespace, name },
      partitions: await registrar.partitionsOf({ namespace, name }),
      ...(copy === undefined ? {} : { copy }),
    })),
  );
}

/** What an open job of a connection reads. */
export function readTask(work: ReadWork): CaptureTask {
  const { connectionId, connector, config, version } = work;
  return {
    unit: `sync:${connectionId}`,
    id: connectionId,
    owner: connectionId,
    connector,
    config,
    version,
    ends: true,
    open: async (source, common) => {
      if (source.read === undefined) throw cannotRead(source);
      const streams = work.streams.map(({ namespace, name, primaryKey, ...rest }) => ({
        stream: { namespace, name },
        key: primaryKey,
        ...rest,
      }));
      return source.read({ ...common, job: jobPosition(work.job), streams });
    },
  };
}

function cannotRead({ spec }: Source): PipelineError {
  return new PipelineError(
    'CFG_INVALID_CONNECTOR',
    `${spec.title} is read from its log only: choose replication method CDC and incremental streams`,
  );
}
