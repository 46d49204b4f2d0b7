import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { ROLES, type AccessTokens, type Role } from '../../core/store/access-tokens.ts';
import type { RequestLimits } from './request-limits.ts';
import { accessOf } from './route-roles.ts';

/** Who calls. */
export interface Principal {
  /** Name of the token; `admin` for HEADRACE_API_TOKEN, `anonymous` where none is asked for. */
  readonly name: string;
  readonly role: Role;
}

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null;
  }
  interface FastifyInstance {
    /** Who holds the token that a request carries in its body; null for a wrong one. */
    tokenHolder(request: FastifyRequest, token: string | null): Promise<Principal | null>;
  }
}

export interface AccessOptions {
  /** HEADRACE_API_TOKEN; null lets everyone on this machine in. */
  readonly apiToken: string | null;
  readonly apiHost: string;
  readonly limits: RequestLimits;
  /** Named tokens; only HEADRACE_API_TOKEN counts without them. */
  readonly tokens?: Pick<AccessTokens, 'find'>;
}

/** The one place where a request is let in: who calls, what the route asks for, how often. */
export function guardAccess(app: FastifyInstance, options: AccessOptions): void {
  app.decorateRequest('principal', null);
  app.decorate('tokenHolder', (request: FastifyRequest, token: string | null) =>
    holderOf(request, token, options),
  );
  app.addHook('onRequest', async (request) => {
    const pattern = request.routeOptions.url;
    const access = pattern === undefined ? 'viewer' : accessOf(request.method, pattern);
    if (options.apiToken === null) refuseOtherSites(request, options.apiHost);
    if (access === 'open') return;
    request.principal = await principalOf(request, options);
    const { name, role } = request.principal;
    if (ROLES.indexOf(role) < ROLES.indexOf(access)) {
      throw new PipelineError(
        'API_FORBIDDEN',
        `The token ${name} is of the role ${role}; this call needs ${access}`,
      );
    }
    options.limits.request(`${name} ${request.ip}`, pattern ?? '');
  });
}

async function principalOf(request: FastifyRequest, options: AccessOptions): Promise<Principal> {
  const given = givenToken(request.headers.authorization ?? '');
  const found = await holderOf(request, given, options);
  if (found !== null) return found;
  throw new PipelineError('API_UNAUTHORIZED', 'The token is missing or wrong');
}

/** Who holds a token; null for a wrong one, of which an address may try only so many. */
async function holderOf(
  request: FastifyRequest,
  given: string | null,
  { apiToken, tokens, limits }: AccessOptions,
): Promise<Principal | null> {
  if (apiToken === null) return { name: 'anonymous', role: 'admin' };
  if (given === null) return null;
  limits.mayGuess(request.ip);
  if (sameText(given, apiToken)) return { name: 'admin', role: 'admin' };
  const found = (await tokens?.find(given)) ?? null;
  if (found === null) limits.guessedWrong(request.ip);
  return found;
}

/** Anyone who reaches the port owns every database behind it: loopback only, or a token. */
export function refuseOpenDoor({
  apiHost,
  apiToken,
}: Pick<AccessOptions, 'apiHost' | 'apiToken'>): void {
  if (isLoopback(apiHost) || apiToken !== null) return;
  throw new PipelineError(
    'CFG_TOKEN_REQUIRED',
    `HEADRACE_API_HOST is ${apiHost}, which is not a loopback address, and no token is set`,
    { details: { host: apiHost } },
  );
}

/**
 * Without a token the port's only wall is that it is on this machine, and a page in a browser is on
 * this machine too: under a name of its own that it lets point here (the Host header has it), or from
 * another site (its Origin header says so).
 */
function refuseOtherSites({ headers }: FastifyRequest, apiHost: string): void {
  const host = headers.host ?? '';
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : '';
  const ours = isLoopback(name.replace(/^\[|\]$/g, '')) || name === apiHost;
  const { origin } = headers;
  const fromHere = origin === undefined || origin === `http://${host}`;
  if (ours && fromHere) return;
  throw new PipelineError('API_FORBIDDEN', 'The call comes from another site, and no token is set');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** `Bearer <token>`, or the password of `Basic`: registry clients know no other way. */
export function givenToken(header: string): string | null {
  const [scheme = '', value = ''] = header.split(' ', 2);
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic') return null;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : null;
}

/** Compares in a time that says nothing about the token. */
function sameText(given: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
