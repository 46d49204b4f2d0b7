import { resolveSecret } from '../core/config/secret-references.ts';
import { PipelineError } from '../core/errors/pipeline-error.ts';
import type { ConnectorSpec } from './spi/connector.ts';
import type { Destination } from './spi/destination.ts';
import { mapSecrets } from './spi/secret-fields.ts';
import type { Source } from './spi/source.ts';

/** A connector's name and Airbyte definition id, and how to load it: drivers are imported only when
 * a connector is used. Adding a connector is one line here. */
interface Entry<C> {
  readonly name: string;
  readonly definitionId: string;
  load(): Promise<C>;
}

const SOURCES: readonly Entry<Source>[] = [
  // prettier-ignore
  { name: 'postgres', definitionId: 'decd338e-5647-4c0b-adf4-da0e75f5a750', load: async () => (await import('./sources/postgres/source.ts')).source },
  // prettier-ignore
  { name: 'mysql', definitionId: '435bb9a5-7887-4809-aa58-28c27df0d7ad', load: async () => (await import('./sources/mysql/source.ts')).source },
];

const DESTINATIONS: readonly Entry<Destination>[] = [
  // prettier-ignore
  { name: 'postgres', definitionId: '25c5221d-dce2-4163-ade9-739ef790f503', load: async () => (await import('./destinations/postgres/destination.ts')).destination },
  // prettier-ignore
  { name: 's3', definitionId: '4816b78f-1489-44c1-9060-4b19d5fa9362', load: async () => (await import('./destinations/s3/destination.ts')).destination },
];

/** Connectors of one kind. `key` is a name (`postgres`) or a definition id. */
export interface ConnectorShelf<C> {
  readonly names: readonly string[];
  /** Throws CFG_UNKNOWN_CONNECTOR. */
  load(key: string): Promise<C>;
}

export interface Connectors {
  readonly sources: ConnectorShelf<Source>;
  readonly destinations: ConnectorShelf<Destination>;
}

export const connectors: Connectors = {
  sources: shelf('source', SOURCES, resolvingSource),
  destinations: shelf('destination', DESTINATIONS, resolvingDestination),
};

/** A connector meets secrets, never references to them; what a reference stands for is read when the
 * connector is called, so that it is held no longer and is never old. */
function resolvingSource(source: Source): Source {
  const resolve = resolver(source);
  return {
    ...source,
    check: async (config) => source.check(resolve(config)),
    discover: async (config) => source.discover(resolve(config)),
    open: async (options) => source.open({ ...options, config: resolve(options.config) }),
    currentPosition: async (config) => source.currentPosition(resolve(config)),
    release: async (options) => source.release({ ...options, config: resolve(options.config) }),
  };
}

function resolvingDestination(destination: Destination): Destination {
  const resolve = resolver(destination);
  return {
    ...destination,
    check: async (config) => destination.check(resolve(config)),
    open: async (options) => destination.open({ ...options, config: resolve(options.config) }),
  };
}

function resolver({ spec }: { readonly spec: ConnectorSpec }) {
  return (config: Record<string, unknown>) =>
    mapSecrets(spec, config, (value) => resolveSecret(value));
}

function shelf<C>(
  kind: string,
  entries: readonly Entry<C>[],
  resolving: (connector: C) => C,
): ConnectorShelf<C> {
  return {
    names: entries.map((entry) => entry.name),
    async load(key) {
      const entry = entries.find((each) => each.name === key || each.definitionId === key);
      if (entry === undefined) {
        throw new PipelineError('CFG_UNKNOWN_CONNECTOR', `there is no ${kind} connector ${key}`, {
          details: { id: key },
        });
      }
      return resolving(await entry.load());
    },
  };
}
