import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Actor } from '../../core/store/actors.ts';
import {
  withNormalization,
  type Operation,
  type OperatorConfiguration,
} from '../../core/store/operations.ts';
import type { Store } from '../../core/store/store.ts';
import { notFound } from '../../core/store/workspaces.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import { changedPaths, SECRET_MASK, unmaskSecrets } from './connector-config.ts';
import { ConnectionId } from './connection-requests.ts';
import { InvalidRequest, Text, Uuid, WorkspaceRef } from './request-body.ts';

const Maybe = Type.Optional;

export const OperatorConfig = Type.Object({
  operatorType: Type.Enum(['normalization', 'dbt', 'webhook']),
  normalization: Maybe(Type.Object({ option: Maybe(Type.Enum(['basic'])) })),
  dbt: Maybe(
    Type.Object({
      gitRepoUrl: Text,
      gitRepoBranch: Maybe(Text),
      dockerImage: Maybe(Text),
      dbtArguments: Maybe(Text),
    }),
  ),
  webhook: Maybe(Type.Object({ executionUrl: Text, executionBody: Maybe(Text) })),
});

const OperationId = Type.Object({ operationId: Uuid });
const OperationCreate = Type.Object({
  workspaceId: WorkspaceRef,
  name: Text,
  operatorConfiguration: OperatorConfig,
});
const OperationUpdate = Type.Object({
  operationId: Uuid,
  name: Text,
  operatorConfiguration: OperatorConfig,
});

export const InlineOperation = Type.Object({
  operationId: Maybe(Uuid),
  workspaceId: Maybe(WorkspaceRef),
  name: Text,
  operatorConfiguration: OperatorConfig,
});

/** Makes or changes the operations that came with a connection; answers the ids of all it is to have. */
export async function savedOperations(
  store: Store,
  body: {
    readonly operationIds?: readonly string[];
    readonly operations?: readonly Static<typeof InlineOperation>[];
  },
): Promise<string[]> {
  const ids = new Set(body.operationIds);
  for (const { operationId, workspaceId: workspace, name, ...rest } of body.operations ?? []) {
    if (operationId === undefined) {
      const configuration = complete(rest.operatorConfiguration);
      const id = await workspaceId(store, workspace ?? 'default');
      ids.add((await store.operations.create({ workspaceId: id, name, configuration })).id);
    } else {
      await change(store, { operationId, name, operatorConfiguration: rest.operatorConfiguration });
      ids.add(operationId);
    }
  }
  return [...ids];
}

async function change(store: Store, body: Static<typeof OperationUpdate>): Promise<Operation> {
  const old = await store.operations.get(body.operationId);
  const given = unmaskSecrets(body.operatorConfiguration, { ...old.configuration });
  const configuration = complete(given as Static<typeof OperatorConfig>);
  await store.operations.update(old.id, { name: body.name, configuration });
  return { ...old, name: body.name, configuration };
}

/** Names of the fields that an update would change; a masked address counts as unchanged. */
async function compare(store: Store, body: Static<typeof OperationUpdate>): Promise<object> {
  const { name, configuration } = await store.operations.get(body.operationId);
  const operatorConfiguration = unmaskSecrets(body.operatorConfiguration, { ...configuration });
  const before = { name, operatorConfiguration: configuration };
  return { changed: changedPaths(before, { name: body.name, operatorConfiguration }) };
}

export function addOperationRoutes(app: FastifyInstance, { store }: ApiContext): void {
  addCall(app, 'operations/create', OperationCreate, async (body) => {
    const created = await store.operations.create({
      workspaceId: await workspaceId(store, body.workspaceId),
      name: body.name,
      configuration: complete(body.operatorConfiguration),
    });
    return operationRead(created);
  });
  addCall(app, 'operations/get', OperationId, async (body) =>
    operationRead(await store.operations.get(body.operationId)),
  );
  addCall(app, 'operations/list', ConnectionId, async (body) => {
    const { document } = await store.connections.get(body.connectionId);
    return { operations: (await store.operations.among(document.operationIds)).map(operationRead) };
  });
  addCall(app, 'operations/update', OperationUpdate, async (body) =>
    operationRead(await change(store, body)),
  );
  addCall(app, 'operations/compare', OperationUpdate, (body) => compare(store, body));
  addCall(app, 'operations/delete', OperationId, async (body) => {
    await store.operations.get(body.operationId);
    await store.operations.remove(body.operationId);
    return undefined;
  });
  addCall(app, 'operations/check', OperatorConfig, async (body) => {
    const missing = whatIsMissing(body);
    return missing === null
      ? { status: 'succeeded' }
      : { status: 'failed', message: `operatorConfiguration.${missing} is required` };
  });
}

/** Airbyte's OperationRead; the address of a webhook is its secret. */
export function operationRead({ id, workspaceId: workspace, ...operation }: Operation): object {
  const { webhook, ...configuration } = operation.configuration;
  return {
    operationId: id,
    workspaceId: workspace,
    name: operation.name,
    operatorConfiguration: {
      ...configuration,
      ...(webhook && { webhook: { ...webhook, executionUrl: SECRET_MASK } }),
    },
  };
}

/** Throws API_NOT_FOUND for an id that names none. */
export async function operationsOf(store: Store, ids: readonly string[]): Promise<Operation[]> {
  const found = await store.operations.among(ids);
  const missing = ids.find((id) => !found.some((each) => each.id === id));
  if (missing !== undefined) throw notFound('operation', missing);
  return found;
}

/** The destination as a connection with these operations uses it. */
export function asDelivered(destination: Actor, operations: readonly Operation[]): Actor {
  const normalizes = operations.some((each) => each.configuration.operatorType === 'normalization');
  if (!normalizes) return destination;
  return { ...destination, configuration: withNormalization(destination.configuration) };
}

function complete(given: Static<typeof OperatorConfig>): OperatorConfiguration {
  const missing = whatIsMissing(given);
  if (missing === null) return given as OperatorConfiguration;
  const propertyPath = `operatorConfiguration.${missing}`;
  throw new InvalidRequest([{ propertyPath, message: 'is required' }]);
}

function whatIsMissing({
  operatorType,
  dbt,
  webhook,
}: Static<typeof OperatorConfig>): string | null {
  if (operatorType === 'dbt' && dbt === undefined) return 'dbt';
  if (operatorType === 'webhook' && webhook === undefined) return 'webhook';
  return null;
}
