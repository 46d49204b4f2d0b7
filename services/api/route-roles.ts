import type { Role } from '../../core/store/access-tokens.ts';

/** What a caller must be: `open` asks nothing, for probes carry no token and a token call checks its
 * secret itself. */
export type Access = Role | 'open';

/** `METHOD pattern` of every route; see `accessOf`. */
export const ROUTE_ACCESS: ReadonlyMap<string, Access> = new Map([
  ...each('open', [
    'GET /health/live',
    'GET /health/ready',
    'GET /api/v1/health',
    'GET /api/public/v1/health',
    'POST /applications/token',
    'POST /api/v1/applications/token',
    'POST /api/public/v1/applications/token',
    'POST /api/public/v1/v1/applications/token',
  ]),
  ...each('viewer', [
    'GET /metrics',
    'GET /api/v1/openapi',
    'GET /api/public/v1/openapi',
    'GET /subjects',
    'GET /subjects/:subject/versions',
    'GET /subjects/:subject/versions/:version',
    'GET /schemas/types',
    'GET /schemas/ids/:id',
    'GET /config',
    'GET /api/v1/jobs/list',
  ]),
  ...each(
    'viewer',
    publicApi('GET', ['workspaces', 'sources', 'destinations', 'connections', 'jobs']),
  ),
  ...each('operator', ['POST /api/public/v1/jobs', 'DELETE /api/public/v1/jobs/:id']),
  ...['workspaces', 'sources', 'destinations', 'connections'].flatMap((kind) =>
    each('admin', [
      `POST /api/public/v1/${kind}`,
      `PATCH /api/public/v1/${kind}/:id`,
      `DELETE /api/public/v1/${kind}/:id`,
    ]),
  ),
  ...each(
    'viewer',
    ['source', 'destination'].flatMap((kind) => [
      `GET /api/public/v1/workspaces/:id/definitions/${kind}s`,
      `GET /api/public/v1/workspaces/:id/definitions/${kind}s/:definitionId`,
    ]),
  ),
  ...each('operator', ['GET /api/public/v1/streams']),
  ...each('admin', ['PUT /api/public/v1/sources/:id', 'PUT /api/public/v1/destinations/:id']),
  ...calls('viewer', 'workspaces', ['list', 'get', 'get_by_slug']),
  ...calls('viewer', 'workspaces', ['get_by_connection_id']),
  ...calls('admin', 'workspaces', ['create', 'update', 'update_name', 'delete']),
  ...calls('admin', 'workspaces', ['tag_feedback_status_as_done']),
  ...calls('admin', 'notifications', ['try', 'try_webhook']),
  ...calls('viewer', 'operations', ['get', 'list']),
  ...calls('admin', 'operations', ['create', 'update', 'compare', 'delete', 'check']),
  ...['source', 'destination'].flatMap((kind) => [
    ...calls('viewer', `${kind}_definitions`, ['list', 'list_for_workspace', 'list_latest']),
    ...calls('viewer', `${kind}_definitions`, ['list_private', 'get', 'get_for_workspace']),
    ...calls('viewer', `${kind}_definition_specifications`, ['get', `get_for_${kind}`]),
  ]),
  ...['sources', 'destinations'].flatMap((kind) => [
    ...calls('viewer', kind, ['get', 'list', 'search']),
    ...calls('operator', kind, ['check_connection']),
    ...calls('admin', kind, ['create', 'update', 'partial_update', 'clone', 'delete']),
    ...calls('admin', kind, ['check_connection_for_update', 'compare']),
  ]),
  ...calls('operator', 'sources', ['discover_schema']),
  // These take a configuration from outside: whoever may try one may reach any server from here.
  ...calls('admin', 'scheduler/sources', ['check_connection', 'discover_schema']),
  ...calls('admin', 'scheduler/destinations', ['check_connection']),
  ...calls('viewer', 'connections', ['get', 'list', 'list_all', 'search', 'status']),
  ...calls('operator', 'connections', ['sync', 'replay', 'verify']),
  ...calls('admin', 'connections', ['create', 'update', 'delete']),
  ...['reset', 'clear', 'refresh'].flatMap((word) =>
    calls('operator', 'connections', [word, `${word}/stream`]),
  ),
  ...calls('viewer', 'jobs', ['get', 'get_light', 'get_without_logs', 'list']),
  ...calls('viewer', 'jobs', ['get_last_replication_job', 'get_debug_info']),
  ...calls('operator', 'jobs', ['create', 'cancel']),
  ...calls('viewer', 'state', ['get']),
  ...calls('admin', 'state', ['create_or_update', 'create_or_update_safe']),
  ...calls('viewer', 'web_backend', ['connections/get', 'connections/list', 'geographies/list']),
  ...calls('viewer', 'web_backend', ['check_updates']),
  ...calls('admin', 'web_backend', ['connections/create', 'connections/update']),
  ...calls('admin', 'tokens', ['create', 'list', 'revoke']),
  ...calls('admin', 'audit', ['list']),
  // Lines of all workspaces, with names of hosts and databases in errors.
  ...calls('admin', 'logs', ['get']),
]);

/** What a route asks for. One that is not in the table is for administrators alone: forgetting it
 * must not open it (a test fails until it is entered). */
export function accessOf(method: string, pattern: string): Access {
  const asked = method === 'HEAD' ? 'GET' : method;
  return ROUTE_ACCESS.get(`${asked} ${pattern}`) ?? 'admin';
}

function each(access: Access, routes: readonly string[]): [string, Access][] {
  return routes.map((route) => [route, access]);
}

function calls(role: Role, family: string, names: readonly string[]): [string, Access][] {
  return each(
    role,
    names.map((name) => `POST /api/v1/${family}/${name}`),
  );
}

function publicApi(method: string, families: readonly string[]): string[] {
  return families.flatMap((family) => [
    `${method} /api/public/v1/${family}`,
    `${method} /api/public/v1/${family}/:id`,
  ]);
}
