import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import type { ConnectorShelf } from '../../connectors/registry.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ActorKind } from '../../core/store/actors.ts';
import type { Store } from '../../core/store/store.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { Uuid } from './request-body.ts';
import { runJob } from './synchronous-job.ts';

type Shelf = ConnectorShelf<{ readonly spec: ConnectorSpec }>;

export function addDefinitionRoutes(app: FastifyInstance, context: ApiContext): void {
  addKind(app, context.store, 'source', context.connectors.sources);
  addKind(app, context.store, 'destination', context.connectors.destinations);
}

function addKind(app: FastifyInstance, store: Store, kind: ActorKind, shelf: Shelf): void {
  const idField = `${kind}DefinitionId`;
  for (const list of ['list', 'list_for_workspace', 'list_latest', 'list_private']) {
    addCall(app, `${kind}_definitions/${list}`, Type.Object({}), async () => {
      const loaded = await Promise.all(shelf.names.map((name) => shelf.load(name)));
      return { [`${kind}Definitions`]: loaded.map(({ spec }) => definition(kind, spec)) };
    });
  }
  const byId = Type.Object({ [idField]: Uuid });
  for (const get of ['get', 'get_for_workspace']) {
    addCall(app, `${kind}_definitions/${get}`, byId, async (body) =>
      definition(kind, await specOf(shelf, body[idField] as string)),
    );
  }
  const specifications = `${kind}_definition_specifications`;
  addCall(app, `${specifications}/get`, byId, async (body) =>
    specification(kind, await specOf(shelf, body[idField] as string)),
  );
  const byActor = Type.Object({ [`${kind}Id`]: Uuid });
  addCall(app, `${specifications}/get_for_${kind}`, byActor, async (body) => {
    const actor = await store.actors.getLive(kind, body[`${kind}Id`] as string);
    return specification(kind, (await shelf.load(actor.connector)).spec);
  });
}

async function specification(kind: ActorKind, spec: ConnectorSpec): Promise<object> {
  const { jobInfo } = await runJob('get_spec', () => Promise.resolve());
  return {
    [`${kind}DefinitionId`]: spec.definitionId,
    documentationUrl: spec.documentationUrl,
    connectionSpecification: spec.connectionSpecification,
    ...(kind === 'destination'
      ? { supportedDestinationSyncModes: modesOf(spec), supportsNormalization: false }
      : {}),
    jobInfo,
  };
}

/** Throws API_NOT_FOUND for an id that no connector has. */
export async function specOf(shelf: Shelf, id: string): Promise<ConnectorSpec> {
  try {
    return (await shelf.load(id.toLowerCase())).spec;
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'CFG_UNKNOWN_CONNECTOR') throw error;
    throw new PipelineError(
      'API_NOT_FOUND',
      `Could not find configuration for definition: ${id}.`,
      {
        details: { id },
        cause: error,
      },
    );
  }
}

function modesOf(spec: ConnectorSpec): readonly string[] {
  return spec.supportedDestinationSyncModes ?? ['append'];
}

/** Airbyte's SourceDefinitionRead or DestinationDefinitionRead. */
export function definition(kind: ActorKind, spec: ConnectorSpec): object {
  return {
    [`${kind}DefinitionId`]: spec.definitionId,
    name: spec.title,
    dockerRepository: spec.dockerRepository,
    dockerImageTag: '0.1.0',
    documentationUrl: spec.documentationUrl,
    protocolVersion: '0.2.0',
    releaseStage: 'generally_available',
    ...(kind === 'source'
      ? { sourceType: 'database' }
      : { supportsDbt: false, normalizationConfig: { supported: false } }),
  };
}
