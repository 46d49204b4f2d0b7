import { fastify, type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Settings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { Service } from '../../core/run/service.ts';
import type { AccessTokens } from '../../core/store/access-tokens.ts';
import { guardAccess, refuseOpenDoor } from './access.ts';
import { errorAnswer } from './error-answer.ts';
import { HTTP_BOUNDS, MAX_CONNECTIONS } from './http-bounds.ts';
import { RequestLimits } from './request-limits.ts';
import { openWebPort } from './web-port.ts';

export const BODY_LIMIT_BYTES = 1 << 20;
/** Of calls that carry a catalog: a wide one is several megabytes. */
export const CATALOG_LIMIT_BYTES = 64 << 20;
const MAX_JSON_DEPTH = 64;

/** Where clients ask for a token; the SDK joins a relative address to its base in three ways. They
 * check the secret themselves. */
export const TOKEN_PATHS = [
  '/applications/token',
  '/api/v1/applications/token',
  '/api/public/v1/applications/token',
  '/api/public/v1/v1/applications/token',
];

export type HttpSettings = Pick<
  Settings,
  'apiHost' | 'apiPort' | 'apiToken' | 'apiRequestsPerSecond'
> &
  // Absent or 0: there is no second port.
  Partial<Pick<Settings, 'webPort' | 'auditReads'>>;

/**
 * A Fastify instance with the habits of Airbyte's clients: trailing slashes, empty bodies under a
 * JSON content type, JSON under any or no content type; every error is JSON with a `message`. Slow,
 * large and many requests have their bounds.
 */
export function createHttpServer(
  settings: HttpSettings,
  logger: Logger,
  tokens?: Pick<AccessTokens, 'find'>,
): FastifyInstance {
  refuseOpenDoor(settings);
  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: HTTP_BOUNDS.requestTimeout,
    http: HTTP_BOUNDS,
    // Idle keep-alive connections would hold a drain for as long as their clients like.
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true },
  });
  acceptAnyContentType(app);
  app.server.maxConnections = MAX_CONNECTIONS;
  app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
    return payload;
  });
  const limits = new RequestLimits(settings.apiRequestsPerSecond);
  guardAccess(app, { ...settings, limits, ...(tokens && { tokens }) });
  answerErrors(app, logger, ({ body }) => body);
  app.setNotFoundHandler((request) => {
    throw new PipelineError(
      'API_NOT_FOUND',
      `Object not found. ${request.method} ${pathOf(request)}`,
    );
  });
  return app;
}

/** Everything that is thrown below `scope` is answered in one shape, and logged when it is ours. */
export function answerErrors(
  scope: FastifyInstance,
  logger: Logger,
  shape: (answer: ReturnType<typeof errorAnswer>) => object,
): void {
  scope.setErrorHandler(async (thrown, request, reply) => {
    const error = clientError(thrown);
    const answer = errorAnswer(error);
    const { status, body } = answer;
    if (status >= 500) logger.error({ err: error, path: pathOf(request) }, 'request failed');
    if (body.retryAfter !== undefined) reply.header('retry-after', body.retryAfter);
    await reply.code(status).send(shape(answer));
  });
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
      const { apiHost, apiPort, webPort = 0 } = settings;
      const hasWebPort = webPort !== 0 && webPort !== apiPort;
      const web = hasWebPort ? await openWebPort(app, { apiHost, webPort }, logger) : null;
      await aborted(signal);
      await web?.close();
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
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new PipelineError('API_MALFORMED_JSON', 'Invalid json in the body of the request');
  }
  refuseStrangeJson(parsed);
  return parsed;
}

/** Values nested so deep that walking them overflows the stack, and names that change what an object
 * is rather than what it holds. */
function refuseStrangeJson(parsed: unknown): void {
  let level: unknown[] = [parsed];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_JSON_DEPTH) {
      throw new PipelineError(
        'API_INVALID_REQUEST',
        `The body is nested deeper than ${MAX_JSON_DEPTH}`,
      );
    }
    const objects = level.filter((each) => typeof each === 'object' && each !== null) as object[];
    if (objects.some((each) => Object.hasOwn(each, '__proto__'))) {
      throw new PipelineError(
        'API_INVALID_REQUEST',
        'The body has a field that is called __proto__',
      );
    }
    level = objects.flatMap((each) => Object.values(each) as unknown[]);
  }
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

/** Fastify's own refusals (too large a body, a bad URL) as requests that are wrong. */
function clientError(thrown: unknown): unknown {
  const { statusCode, code } = thrown as { statusCode?: number; code?: string };
  const refused = code?.startsWith('FST_') === true && statusCode !== undefined && statusCode < 500;
  if (thrown instanceof PipelineError || !refused) return thrown;
  const tooLarge = statusCode === 413;
  return new PipelineError(
    tooLarge ? 'API_TOO_LARGE' : 'API_INVALID_REQUEST',
    (thrown as Error).message,
    { cause: thrown },
  );
}
