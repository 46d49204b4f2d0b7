import { timingSafeEqual, createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { fastify, type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Settings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { Service } from '../../core/run/service.ts';
import { errorAnswer } from './error-answer.ts';

/** A wide catalog is several megabytes. */
const BODY_LIMIT_BYTES = 64 << 20;

/** Where clients ask for a token; the SDK joins a relative address to its base in three ways. They
 * check the secret themselves. */
export const TOKEN_PATHS = [
  '/applications/token',
  '/api/v1/applications/token',
  '/api/public/v1/applications/token',
  '/api/public/v1/v1/applications/token',
];

/** Routes that answer without a token: probes of orchestrators carry none. */
const OPEN_PATHS = new Set([
  '/api/v1/health',
  '/api/public/v1/health',
  '/health/live',
  '/health/ready',
  ...TOKEN_PATHS,
]);

export type HttpSettings = Pick<Settings, 'apiHost' | 'apiPort' | 'apiToken'>;

/**
 * A Fastify instance with the habits of Airbyte's clients: trailing slashes, empty bodies under a
 * JSON content type, JSON under any or no content type; every error is JSON with a `message`.
 */
export function createHttpServer(settings: HttpSettings, logger: Logger): FastifyInstance {
  refuseOpenDoor(settings);
  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    // Idle keep-alive connections would hold a drain for as long as their clients like.
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true },
  });
  acceptAnyContentType(app);
  if (settings.apiToken !== null) requireToken(app, settings.apiToken);
  app.setErrorHandler(async (thrown, request, reply) => {
    const error = clientError(thrown);
    const { status, body } = errorAnswer(error);
    if (status >= 500) logger.error({ err: error, path: request.url }, 'request failed');
    await reply.code(status).send(body);
  });
  app.setNotFoundHandler((request) => {
    throw new PipelineError(
      'API_NOT_FOUND',
      `Object not found. ${request.method} ${pathOf(request)}`,
    );
  });
  return app;
}

export interface HttpService extends Service {
  /** Resolves with the port once it listens; the one given by the system when 0 was asked for. */
  readonly listening: Promise<number>;
}

/** Listens until the signal aborts, then lets running requests end. Throws CFG_PORT_IN_USE. */
export function httpService(
  name: string,
  app: FastifyInstance,
  settings: HttpSettings,
  logger: Logger,
): HttpService {
  let resolve: (port: number) => void;
  let reject: (error: unknown) => void;
  const listening = new Promise<number>((onPort, onError) => {
    resolve = onPort;
    reject = onError;
  });
  // Who does not ask must not be ended by an unhandled rejection: `run` rejects as well.
  listening.catch(() => undefined);
  return {
    name,
    listening,
    async run(signal) {
      try {
        const url = await listen(app, settings);
        logger.info({ url }, 'listening');
        resolve(Number(new URL(url).port));
      } catch (error) {
        reject(error);
        throw error;
      }
      await aborted(signal);
      await app.close();
    },
  };
}

async function listen(app: FastifyInstance, { apiHost, apiPort }: HttpSettings): Promise<string> {
  try {
    return await app.listen({ host: apiHost, port: apiPort });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new PipelineError(
      'CFG_PORT_IN_USE',
      `port ${apiPort} on ${apiHost} is taken (HEADRACE_API_PORT)`,
      { details: { port: apiPort }, cause: error },
    );
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Anyone who reaches the port owns every database behind it: loopback only, or a token. */
function refuseOpenDoor({ apiHost, apiToken }: HttpSettings): void {
  const loopback =
    apiHost === 'localhost' ||
    apiHost === '::1' ||
    (isIP(apiHost) === 4 && apiHost.startsWith('127.'));
  if (loopback || apiToken !== null) return;
  throw new PipelineError(
    'CFG_TOKEN_REQUIRED',
    `HEADRACE_API_HOST is ${apiHost}, which is not a loopback address, and no token is set`,
    { details: { host: apiHost } },
  );
}

function acceptAnyContentType(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, text, done) => {
    try {
      done(null, parseBody(request.headers['content-type'] ?? '', text as string));
    } catch (error) {
      done(error as Error);
    }
  });
}

/** OAuth clients send forms; curl labels JSON as one. */
function parseBody(contentType: string, text: string): unknown {
  const isForm = contentType.startsWith('application/x-www-form-urlencoded');
  if (isForm && !text.trimStart().startsWith('{')) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  return parseJson(text);
}

/** An empty body is an empty object. Throws API_MALFORMED_JSON; the text is not quoted in it. */
export function parseJson(text: string): unknown {
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new PipelineError('API_MALFORMED_JSON', 'Invalid json in the body of the request');
  }
}

function requireToken(app: FastifyInstance, token: string): void {
  app.addHook('onRequest', (request, _reply, done) => {
    if (OPEN_PATHS.has(pathOf(request).replace(/(?<=.)\/$/, ''))) return done();
    const given = givenToken(request.headers.authorization ?? '');
    if (given !== null && isToken(given, token)) return done();
    done(new PipelineError('API_UNAUTHORIZED', 'The token is missing or wrong'));
  });
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
export function isToken(given: string, token: string): boolean {
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

/** Fastify's own refusals (too large a body, a bad URL) as requests that are wrong. */
function clientError(thrown: unknown): unknown {
  const { statusCode, code } = thrown as { statusCode?: number; code?: string };
  const refused = code?.startsWith('FST_') === true && statusCode !== undefined && statusCode < 500;
  if (thrown instanceof PipelineError || !refused) return thrown;
  return new PipelineError('API_INVALID_REQUEST', (thrown as Error).message, { cause: thrown });
}
