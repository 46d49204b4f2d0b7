import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { ConnectorShelf } from '../../connectors/registry.ts';
import type { CheckResult, ConnectorSpec } from '../../connectors/spi/connector.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Actor, ActorKind } from '../../core/store/actors.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import { changedPaths, checkConfig, maskSecrets, unmaskSecrets } from './connector-config.ts';
import { discoveredCatalog } from '../../connectors/spi/discovered-catalog.ts';
import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import type { Connection } from '../../core/store/connections.ts';
import { catalogDiff, changeWord } from './catalog-diff.ts';
import { Json, Text, Uuid, WorkspaceRef } from './request-body.ts';
import { runJob } from './synchronous-job.ts';

type Config = Record<string, unknown>;

interface Checkable {
  readonly spec: ConnectorSpec;
  check(config: Config): Promise<CheckResult>;
}

/** Sources and destinations have the same calls under two sets of field names. */
export class ActorCalls {
  private readonly kind: ActorKind;
  private readonly context: ApiContext;
  readonly shelf: ConnectorShelf<Checkable>;

  constructor(kind: ActorKind, context: ApiContext) {
    this.kind = kind;
    this.context = context;
    this.shelf = kind === 'source' ? context.connectors.sources : context.connectors.destinations;
  }

  addTo(app: FastifyInstance): void {
    const { kind } = this;
    const id = `${kind}Id`;
    const definitionId = `${kind}DefinitionId`;
    const byId = Type.Object({ [id]: Uuid });
    const content = { name: Text, connectionConfiguration: Json };
    const fresh = { ...content, [definitionId]: Uuid, workspaceId: WorkspaceRef };
    const partial = { name: Type.Optional(Text), connectionConfiguration: Type.Optional(Json) };
    const core = { connectionConfiguration: Json, [definitionId]: Uuid };
    const call = addCall.bind(null, app);
    const text = (body: unknown, field: string) => (body as Record<string, string>)[field] ?? '';
    call(`${kind}s/create`, Type.Object(fresh), async (body) =>
      this.read(await this.create(text(body, definitionId), body as NewActorBody)),
    );
    call(`${kind}s/update`, Type.Object({ ...content, [id]: Uuid }), (body) =>
      this.update(text(body, id), body as ActorBody),
    );
    call(`${kind}s/get`, byId, async (body) => this.read(await this.live(text(body, id))));
    call(`${kind}s/list`, Type.Object({ workspaceId: WorkspaceRef }), (body) =>
      this.list(text(body, 'workspaceId')),
    );
    call(`${kind}s/search`, Type.Object({ name: Type.Optional(Text) }), (body) =>
      this.search((body as { name?: string }).name),
    );
    call(`${kind}s/partial_update`, Type.Object({ [id]: Uuid, ...partial }), async (body) => {
      const stored = await this.live(text(body, id));
      const { name, configuration } = stored;
      const defaults = { name, connectionConfiguration: configuration };
      return this.update(stored.id, { ...defaults, ...(body as Partial<ActorBody>) });
    });
    call(`${kind}s/clone`, Type.Object({ [`${kind}CloneId`]: Uuid }), (body) =>
      this.clone(text(body, `${kind}CloneId`)),
    );
    call(`${kind}s/check_connection_for_update`, Type.Object({ ...content, [id]: Uuid }), (body) =>
      this.checkForUpdate(text(body, id), body as ActorBody),
    );
    call(`${kind}s/compare`, Type.Object({ ...content, [id]: Uuid }), (body) =>
      this.compare(text(body, id), body as ActorBody),
    );
    call(`${kind}s/delete`, byId, (body) => this.remove(text(body, id)));
    call(`${kind}s/check_connection`, byId, async (body) =>
      this.check(await this.live(text(body, id))),
    );
    call(`scheduler/${kind}s/check_connection`, Type.Object(core), (body) =>
      this.checkUnsaved(text(body, definitionId), body as CoreBody),
    );
  }

  async create(definitionId: string, body: NewActorBody): Promise<Actor> {
    const { spec } = await this.shelf.load(definitionId.toLowerCase());
    checkConfig(spec, body.connectionConfiguration);
    return this.context.store.actors.create({
      workspaceId: await workspaceId(this.context.store, body.workspaceId),
      kind: this.kind,
      name: body.name,
      definitionId: spec.definitionId,
      connector: spec.name,
      configuration: body.connectionConfiguration,
    });
  }

  async update(id: string, body: ActorBody): Promise<object> {
    const stored = await this.live(id);
    const { spec } = await this.shelf.load(stored.connector);
    const configuration = unmaskSecrets(body.connectionConfiguration, stored.configuration);
    checkConfig(spec, configuration);
    if (this.kind === 'source') await refuseOtherMethod(this.context, stored, configuration);
    await this.context.store.actors.update(id, { name: body.name, configuration });
    return this.read({ ...stored, name: body.name, configuration });
  }

  private async list(workspace: string): Promise<object> {
    const { store } = this.context;
    const actors = await store.actors.list(this.kind, await workspaceId(store, workspace));
    return { [`${this.kind}s`]: await Promise.all(actors.map((actor) => this.read(actor))) };
  }

  private async search(name: string | undefined): Promise<object> {
    const { store } = this.context;
    const lists = await Promise.all(
      (await store.workspaces.list()).map((each) => store.actors.list(this.kind, each.id)),
    );
    const found = lists.flat().filter((actor) => name === undefined || actor.name === name);
    return { [`${this.kind}s`]: await Promise.all(found.map((actor) => this.read(actor))) };
  }

  private async clone(id: string): Promise<object> {
    const { id: _, ...stored } = await this.live(id);
    const actor = { ...stored, name: `${stored.name} Copy` };
    return this.read(await this.context.store.actors.create(actor));
  }

  private async checkForUpdate(id: string, body: ActorBody): Promise<object> {
    const stored = await this.live(id);
    const { spec } = await this.shelf.load(stored.connector);
    const configuration = unmaskSecrets(body.connectionConfiguration, stored.configuration);
    checkConfig(spec, configuration);
    return this.check({ connector: spec.name, configuration });
  }

  /** Names of the fields that an update would change; masked secrets count as unchanged. */
  private async compare(id: string, body: ActorBody): Promise<object> {
    const { name, configuration } = await this.live(id);
    const unmasked = unmaskSecrets(body.connectionConfiguration, configuration);
    const before = { name, connectionConfiguration: configuration };
    return {
      changed: changedPaths(before, { name: body.name, connectionConfiguration: unmasked }),
    };
  }

  private async remove(id: string): Promise<undefined> {
    await this.live(id);
    await this.context.store.actors.remove(this.kind, id);
  }

  private async checkUnsaved(definitionId: string, body: CoreBody): Promise<object> {
    const { spec } = await this.shelf.load(definitionId.toLowerCase());
    const stored = body[`${this.kind}Id`];
    const old = stored === undefined ? null : await this.live(stored);
    // A secret of one connector is not for another one that may send it elsewhere.
    const known = old?.connector === spec.name ? old.configuration : {};
    const configuration = unmaskSecrets(body.connectionConfiguration, known);
    checkConfig(spec, configuration);
    return this.check({ connector: spec.name, configuration });
  }

  /** A failed check is an answer of 200. */
  private async check(actor: Pick<Actor, 'connector' | 'configuration'>): Promise<object> {
    const connector = await this.shelf.load(actor.connector);
    const { result, failure, jobInfo } = await runJob(`check_connection_${this.kind}`, () =>
      connector.check(actor.configuration),
    );
    const lines = [result?.message ?? failure ?? '', ...(result?.warnings ?? [])];
    const message = lines.filter((line) => line !== '').join('\n');
    return {
      status: result?.ok === true ? 'succeeded' : 'failed',
      ...(message === '' ? {} : { message }),
      jobInfo,
    };
  }

  live(id: string): Promise<Actor> {
    return this.context.store.actors.getLive(this.kind, id);
  }

  async read(actor: Actor): Promise<Record<string, unknown>> {
    const { spec } = await this.shelf.load(actor.connector);
    return {
      [`${this.kind}DefinitionId`]: actor.definitionId,
      [`${this.kind}Id`]: actor.id,
      workspaceId: actor.workspaceId,
      connectionConfiguration: maskSecrets(spec, actor.configuration),
      name: actor.name,
      [`${this.kind}Name`]: spec.title,
    };
  }
}

/** Its connections' streams were set up for the one way to be read, and what they hold goes with it. */
async function refuseOtherMethod(
  { store, connectors }: ApiContext,
  stored: Actor,
  configuration: Config,
): Promise<void> {
  const source = await connectors.sources.load(stored.connector);
  if (source.hasLog(stored.configuration) === source.hasLog(configuration)) return;
  const connections = await store.connections.list(stored.workspaceId);
  if (!connections.some((each) => each.sourceId === stored.id)) return;
  throw new PipelineError(
    'API_INVALID_CONNECTION',
    `The source ${stored.name} has connections: its replication method stays as it is while there are any; create another source`,
    { details: { source: stored.id } },
  );
}

interface CoreBody {
  readonly connectionConfiguration: Config;
  readonly sourceId?: string;
  readonly destinationId?: string;
}

export interface ActorBody {
  readonly name: string;
  readonly connectionConfiguration: Config;
}

interface NewActorBody extends ActorBody {
  readonly workspaceId: string;
}

const Discover = Type.Object({ sourceId: Uuid, connectionId: Type.Optional(Uuid) });

export function addActorRoutes(app: FastifyInstance, context: ApiContext): void {
  new ActorCalls('source', context).addTo(app);
  new ActorCalls('destination', context).addTo(app);
  addCall(app, 'sources/discover_schema', Discover, async ({ sourceId, connectionId }) => {
    const connection =
      connectionId === undefined ? null : await context.store.connections.get(connectionId);
    const actor = await context.store.actors.getLive('source', sourceId);
    return discover(context, actor, connection);
  });
  const unsaved = Type.Object({ sourceDefinitionId: Uuid, connectionConfiguration: Json });
  addCall(app, 'scheduler/sources/discover_schema', unsaved, async (body) => {
    const { spec } = await context.connectors.sources.load(body.sourceDefinitionId.toLowerCase());
    const configuration = unmaskSecrets(body.connectionConfiguration, {});
    checkConfig(spec, configuration);
    return discover(context, { connector: spec.name, configuration });
  });
}

/** Airbyte's SourceRead or DestinationRead; a deleted one too. */
export async function actorRead(
  context: ApiContext,
  kind: ActorKind,
  id: string,
): Promise<Record<string, unknown>> {
  const actor = await context.store.actors.get(kind, id);
  return new ActorCalls(kind, context).read(actor);
}

/** A failed discovery is an answer of 200 without a catalog. */
async function discover(
  { connectors }: ApiContext,
  actor: Pick<Actor, 'connector' | 'configuration'>,
  connection: Connection | null = null,
): Promise<object> {
  const source = await connectors.sources.load(actor.connector);
  const { result, jobInfo } = await runJob('discover_schema', () =>
    source.discover(actor.configuration),
  );
  if (result === undefined) return { jobInfo };
  const warnings = result.flatMap((each) => (each.warning === undefined ? [] : [each.warning]));
  return {
    catalog: discoveredCatalog(result),
    catalogId: randomUUID(),
    jobInfo: { ...jobInfo, logs: { logLines: warnings } },
    ...(connection === null ? {} : differenceOf(connection, result)),
  };
}

function differenceOf(
  { status, document }: Connection,
  offered: readonly DiscoveredStream[],
): object {
  const transforms = catalogDiff(document.syncCatalog.streams, offered);
  const breakingChange = changeWord(transforms) === 'breaking';
  return { catalogDiff: { transforms }, breakingChange, connectionStatus: status };
}
