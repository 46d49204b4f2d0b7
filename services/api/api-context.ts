import type { FastifyInstance } from 'fastify';
import type { Static, TSchema } from 'typebox';
import type { Connectors } from '../../connectors/registry.ts';
import type { OutgoingRules } from '../../core/net/outgoing-rules.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { ConnectionStreamWork } from '../../core/store/work.ts';
import { DEFAULT_WORKSPACE_ID } from '../../core/store/workspaces.ts';
import type { Store } from '../../core/store/store.ts';
import { CATALOG_LIMIT_BYTES } from './http-server.ts';
import { bodyReader } from './request-body.ts';
import { SharedReads } from './shared-reads.ts';

export const JSON_TEXT = 'application/json; charset=utf-8';

/** What the routes of the configuration API work with. */
export interface ApiContext {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly logger: Logger;
  /** Where calls that come from a configuration may go. */
  readonly rules: OutgoingRules;
  /** Where the longest partition of a stream's topic ends, 0 without a topic. Where it is not given,
   * offsets are taken as they come. */
  endOf?(stream: ConnectionStreamWork): Promise<number>;
}

/** Airbyte's calls are all POST with one JSON object; undefined answers 204. */
export function addCall<S extends TSchema>(
  app: FastifyInstance,
  path: string,
  request: S,
  answer: (body: Static<S>) => Promise<object | undefined>,
): void {
  const read = bodyReader(request);
  app.post(
    `/api/v1/${path}`,
    { config: { body: request }, ...roomFor(request) },
    async (incoming, reply) => {
      const result = await answer(read(incoming.body));
      return result === undefined ? reply.code(204).send() : reply.send(result);
    },
  );
}

/** A call that only reads and is made by many at once: lists that dashboards ask for. It answers JSON
 * text. */
export function addSharedCall<S extends TSchema>(
  app: FastifyInstance,
  path: string,
  request: S,
  answer: (body: Static<S>) => Promise<string>,
): void {
  const read = bodyReader(request);
  const reads = new SharedReads();
  app.post(`/api/v1/${path}`, { config: { body: request } }, async (incoming, reply) => {
    const body = read(incoming.body);
    const bytes = await reads.read(JSON.stringify(body), () => answer(body));
    return reply.type(JSON_TEXT).send(bytes);
  });
}

/** More room for a body whose shape has a catalog. */
export function roomFor(request: TSchema): { bodyLimit?: number } {
  const { properties = {} } = request as { properties?: object };
  const carriesCatalog = 'syncCatalog' in properties || 'configurations' in properties;
  return carriesCatalog ? { bodyLimit: CATALOG_LIMIT_BYTES } : {};
}

/** A workspace by id or by slug. Throws API_NOT_FOUND. */
export async function workspaceId(store: Store, ref: string): Promise<string> {
  if (ref === DEFAULT_WORKSPACE_ID) return ref;
  const found = (await store.workspaces.list()).find(
    (each) => each.id === ref || each.slug === ref,
  );
  return found?.id ?? (await store.workspaces.get(asUuid(ref))).id;
}

/** A text that is no UUID names nothing, but must not reach a uuid column. */
function asUuid(ref: string): string {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(ref)
    ? ref
    : '00000000-0000-0000-0000-000000000000';
}
