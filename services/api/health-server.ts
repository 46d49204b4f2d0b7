import type { FastifyInstance } from 'fastify';
import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { AccessTokens } from '../../core/store/access-tokens.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { exposition, metricsRegistry } from '../../core/observe/metrics.ts';
import {
  createHttpServer,
  httpService,
  type HttpService,
  type HttpSettings,
} from './http-server.ts';

export interface HealthOptions {
  readonly settings: HttpSettings;
  readonly logger: Logger;
  /** Named tokens that may read metrics, beside HEADRACE_API_TOKEN. */
  readonly tokens?: Pick<AccessTokens, 'find'>;
  /** Rejects with what the role waits for while it cannot do its work. */
  ready(): Promise<void>;
}

/** What every role serves on its own HEADRACE_API_PORT: is it alive, can it work, metrics. */
export function createHealthServer(options: HealthOptions): HttpService {
  const app = createHttpServer(options.settings, options.logger, options.tokens);
  addHealthRoutes(app, options);
  app.get('/api/v1/health', () => ({ available: true }));
  return httpService('health', app, options.settings, options.logger);
}

/** `live` answers while the event loop turns; `ready` says 503 and why. */
export function addHealthRoutes(
  app: FastifyInstance,
  { ready }: Pick<HealthOptions, 'ready'>,
): void {
  app.get('/health/live', () => ({ status: 'live' }));
  app.get('/health/ready', async (_request, reply) => {
    try {
      await ready();
      return { status: 'ready' };
    } catch (thrown) {
      const error = toPipelineError(thrown);
      return reply
        .code(503)
        .send({ status: 'waiting', code: error.code, message: error.message, fix: error.spec.fix });
    }
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(metricsRegistry.contentType).send(await exposition()),
  );
}
