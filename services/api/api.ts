import type { FastifyInstance } from 'fastify';
import type { LogTail } from '../../core/observe/log-tail.ts';
import { addAccessRoutes } from './access-routes.ts';
import { addActorRoutes } from './actor-routes.ts';
import type { ApiContext } from './api-context.ts';
import { auditCalls } from './audit.ts';
import { addConnectionRoutes } from './connection-routes.ts';
import { addDefinitionRoutes } from './definition-routes.ts';
import { addHealthRoutes } from './health-server.ts';
import {
  createHttpServer,
  httpService,
  type HttpService,
  type HttpSettings,
} from './http-server.ts';
import { addJobRoutes } from './job-routes.ts';
import { addLogRoute } from './log-routes.ts';
import { addOpenApiRoutes, noteRoutes } from './openapi.ts';
import { addNotificationRoutes } from './notification-routes.ts';
import { addOperationRoutes } from './operation-routes.ts';
import { addReplayRoute } from './replay-routes.ts';
import { addResetRoutes } from './reset-routes.ts';
import { addPublicApi } from './public-api.ts';
import { addRegistryRoutes, type RegistryReader } from './registry-routes.ts';
import { addStateRoutes } from './state-routes.ts';
import { addVerifyRoute, type Verify } from './verify-routes.ts';
import { addWebBackendRoutes } from './web-backend-routes.ts';
import { addWorkspaceRoutes } from './workspace-routes.ts';

export interface ApiOptions extends ApiContext {
  readonly settings: HttpSettings;
  /** Serves the Confluent registry's paths; they are 404 without it. */
  readonly registry?: RegistryReader;
  /** Serves logs/get; it is 404 without it. */
  readonly logs?: LogTail;
  /** Serves connections/verify; it is 404 without it. */
  readonly verify?: Verify;
}

/** Airbyte's configuration API of 0.50 over our store. Throws CFG_TOKEN_REQUIRED. */
export function createApi(options: ApiOptions): FastifyInstance {
  const { settings, logger, store } = options;
  const app = createHttpServer(settings, logger, store.tokens);
  noteRoutes(app);
  auditCalls(app, store.audit, { logger, reads: settings.auditReads === true });
  app.get('/api/v1/health', async () => {
    await store.ping();
    return { available: true };
  });
  addHealthRoutes(app, { ready: () => store.ping() });
  addOpenApiRoutes(app);
  addAccessRoutes(app, options, settings.apiToken);
  addWorkspaceRoutes(app, options);
  addDefinitionRoutes(app, options);
  addActorRoutes(app, options);
  addConnectionRoutes(app, options);
  addJobRoutes(app, options);
  addPublicApi(app, options);
  addNotificationRoutes(app, options);
  addOperationRoutes(app, options);
  addResetRoutes(app, options);
  addReplayRoute(app, options);
  addStateRoutes(app, options);
  addWebBackendRoutes(app, options);
  if (options.logs !== undefined) addLogRoute(app, options.logs);
  if (options.verify !== undefined) addVerifyRoute(app, options, options.verify);
  if (options.registry !== undefined) addRegistryRoutes(app, options.registry);
  return app;
}

/** The API as a role of the program. */
export function apiService(options: ApiOptions): HttpService {
  return httpService('api', createApi(options), options.settings, options.logger);
}
