import type { FastifyRequest } from 'fastify';
import type { Store } from '../../core/store/store.ts';
import { DEFAULT_WORKSPACE_ID } from '../../core/store/workspaces.ts';
import { workspaceId } from './api-context.ts';

const PAGE_SIZE = 20;

export interface PageBounds {
  readonly limit: number;
  readonly offset: number;
}

/** Of a request whose query fits PAGE_QUERY. */
export function pageBounds(request: FastifyRequest): PageBounds {
  const query = request.query as Record<string, string | undefined>;
  const whole = (text: string | undefined, fallback: number, most: number): number =>
    text === undefined ? fallback : Math.min(Number(text), most);
  return {
    limit: Math.max(1, whole(query['limit'], PAGE_SIZE, 100)),
    offset: whole(query['offset'], 0, 999_999_999),
  };
}

/** The workspaces a list is asked for; the default one when none is named. */
export function workspacesOf(
  store: Store,
  { workspaceIds = DEFAULT_WORKSPACE_ID }: { workspaceIds?: string | string[] },
): Promise<string[]> {
  const asked = [workspaceIds].flat().flatMap((ids) => ids.split(','));
  return Promise.all(asked.map((id) => workspaceId(store, id)));
}

/** One page of a whole list. */
export function page(request: FastifyRequest, all: readonly object[]): object {
  const { limit, offset } = pageBounds(request);
  return pageOf(request, all.slice(offset, offset + limit), all.length > offset + limit);
}

/** `next` and `previous` are whole addresses, or empty: clients take them apart. */
export function pageOf(request: FastifyRequest, data: readonly object[], more: boolean): object {
  const { limit, offset } = pageBounds(request);
  const address = (at: number): string => {
    const url = new URL(request.url, `${request.protocol}://${request.host}`);
    url.searchParams.set('limit', String(limit));
    url.searchParams.set('offset', String(at));
    return url.href;
  };
  return {
    data,
    previous: offset > 0 ? address(Math.max(0, offset - limit)) : '',
    next: more ? address(offset + limit) : '',
  };
}

/** What is no UUID names nothing, and must not reach a uuid column. */
export function uuid(text: string): string {
  const form = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
  return form.test(text) ? text : '00000000-0000-0000-0000-000000000000';
}
