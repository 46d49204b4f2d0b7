import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AuditLog } from '../../core/store/audit-log.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { accessOf } from './route-roles.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MAX_FIELDS = 100;
const MAX_NAME = 64;
/** `connectionConfiguration.ssl_mode.mode` is as deep as a configuration's fields go. */
const MAX_DEPTH = 3;

declare module 'fastify' {
  interface FastifyRequest {
    /** Ids that the answer named: of what a call has created. */
    answeredIds: Readonly<Record<string, string>>;
  }
}

/** Writes down every call that may change something, every one that was refused and, with `reads`,
 * all others that need a token, before its answer leaves: what a client was told of is in the log. */
export function auditCalls(
  app: FastifyInstance,
  audit: AuditLog,
  { logger, reads }: { readonly logger: Logger; readonly reads: boolean },
): void {
  app.decorateRequest('answeredIds');
  app.addHook('preSerialization', (request, _reply, payload, done) => {
    request.answeredIds = idsIn(payload);
    done(null, payload);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    if (isWorthKeeping(request, reply.statusCode, reads)) {
      try {
        await audit.add(entryOf(request, reply.statusCode));
      } catch (err) {
        // The change is made and cannot be taken back; the log of the process has it instead.
        logger.error({ err, call: callOf(request) }, 'audit entry could not be written');
      }
    }
    return payload;
  });
}

function isWorthKeeping(request: FastifyRequest, status: number, reads: boolean): boolean {
  if (status === 401 || status === 403) return true;
  const pattern = request.routeOptions.url;
  if (pattern === undefined) return false;
  const access = accessOf(request.method, pattern);
  return access === 'operator' || access === 'admin' || (reads && access === 'viewer');
}

function entryOf(request: FastifyRequest, status: number) {
  return {
    who: request.principal?.name ?? 'unknown',
    address: request.ip,
    call: callOf(request),
    objects: { ...idsIn(request.params), ...idsIn(request.body), ...request.answeredIds },
    fields: fieldsIn(request.body, '', 1).slice(0, MAX_FIELDS),
    status,
  };
}

function callOf(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? 'unknown'}`;
}

/** The fields of an object that name another one: UUIDs, and the number of a job. */
function idsIn(object: unknown): Record<string, string> {
  if (typeof object !== 'object' || object === null) return {};
  return Object.fromEntries(
    Object.entries(object).flatMap(([name, value]) => {
      const isId = /id$/i.test(name) && (UUID.test(String(value)) || Number.isInteger(value));
      return isId ? [[name, String(value)] as const] : [];
    }),
  );
}

function fieldsIn(value: unknown, path: string, depth: number): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = `${path}${key.slice(0, MAX_NAME)}`;
    const nested = depth < MAX_DEPTH ? fieldsIn(inner, `${name}.`, depth + 1) : [];
    return nested.length === 0 ? [name] : nested;
  });
}
