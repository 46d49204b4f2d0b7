import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import type { ApiContext } from './api-context.ts';
import { PUBLIC_SYNC_MODES } from './public-connections.ts';
import { uuid } from './public-page.ts';
import { addPublicRoute } from './public-route.ts';
import { Text } from './request-body.ts';

const Query = Type.Object({
  sourceId: Text,
  destinationId: Type.Optional(Text),
  ignoreCache: Type.Optional(Text),
});

/** What a source offers, asked of the source now; a bare array, as clients read it. */
export function addPublicStreams(scope: FastifyInstance, context: ApiContext): void {
  const { actors } = context.store;
  addPublicRoute(scope, 'GET /streams', { query: Query }, async ({ query }) => {
    const source = await actors.getLive('source', uuid(query.sourceId));
    const connector = await context.connectors.sources.load(source.connector);
    const offered = await connector.discover(source.configuration);
    const allowed = await destinationModes(context, query.destinationId);
    return offered.map((each) => streamRead(each, allowed));
  });
}

async function destinationModes(
  { store, connectors }: ApiContext,
  id: string | undefined,
): Promise<readonly string[] | null> {
  if (id === undefined) return null;
  const { connector } = await store.actors.getLive('destination', uuid(id));
  const { spec } = await connectors.destinations.load(connector);
  return spec.supportedDestinationSyncModes ?? ['append'];
}

function streamRead(offered: DiscoveredStream, allowed: readonly string[] | null): object {
  const { stream, jsonSchema, primaryKey, supportedSyncModes, sourceDefinedCursor } = offered;
  const modes = Object.entries(PUBLIC_SYNC_MODES).filter(
    ([, [source, destination]]) =>
      supportedSyncModes.some((mode) => mode === source) &&
      (allowed?.includes(destination) ?? true) &&
      (destination !== 'append_dedup' || primaryKey.length > 0),
  );
  return {
    streamName: stream.name,
    ...(stream.namespace === '' ? {} : { streamnamespace: stream.namespace }),
    syncModes: modes.map(([mode]) => mode),
    defaultCursorField: [],
    sourceDefinedCursorField: sourceDefinedCursor,
    sourceDefinedPrimaryKey: primaryKey.map((column) => [column]),
    propertyFields: Object.keys((jsonSchema['properties'] ?? {}) as object).map((name) => [name]),
  };
}
