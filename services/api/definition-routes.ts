import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import type { ConnectorShelf } from '../../connectors/registry.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ActorKind } from '../../core/store/actors.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { Uuid } from './request-body.ts';
import { runJob } from './synchronous-job.ts';

type Shelf = ConnectorShelf<{ readonly spec: ConnectorSpec }>;

export function addDefinitionRoutes(app: FastifyInstance, context: ApiContext): void {
  addKind(app, 'source', context.connectors.sources);
  addKind(app, 'destination', context.connectors.destinations);
}

function addKind(app: FastifyInstance, kind: ActorKind, shelf: Shelf): void {
  const idField = `${kind}DefinitionId`;
  for (const list of ['list', 'list_for_workspace', 'list_latest']) {
    addCall(app, `${kind}_definitions/${list}`, Type.Object({}), async () => {
      const loaded = await Promise.all(shelf.names.map((name) => shelf.load(name)));
      return { [`${kind}Definitions`]: loaded.map(({ spec }) => definition(kind, spec)) };
    });
  }
  const byId = Type.Object({ [idField]: Uuid });
  addCall(app, `${kind}_definitions/get`, byId, async (body) =>
    definition(kind, await specOf(shelf, body[idField] as string)),
  );
  addCall(app, `${kind}_definition_specifications/get`, byId, async (body) => {
    const spec = await specOf(shelf, body[idField] as string);
    const { jobInfo } = await runJob('get_spec', () => Promise.resolve());
    return {
      [idField]: spec.definitionId,
      documentationUrl: spec.documentationUrl,
      connectionSpecification: spec.connectionSpecification,
      ...(kind === 'destination' ? { supportedDestinationSyncModes: modesOf(spec) } : {}),
      ...(kind === 'destination' ? { supportsNormalization: false } : {}),
      jobInfo,
    };
  });
}

/** Throws API_NOT_FOUND for an id that no connector has. */
async function specOf(shelf: Shelf, id: string): Promise<ConnectorSpec> {
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

function definition(kind: ActorKind, spec: ConnectorSpec): object {
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
