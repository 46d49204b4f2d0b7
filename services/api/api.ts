import type { FastifyInstance } from 'fastify';
import { addActorRoutes } from './actor-routes.ts';
import type { ApiContext } from './api-context.ts';
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
import { addResetRoutes } from './reset-routes.ts';
import { addPublicApi } from './public-api.ts';
import { addRegistryRoutes, type RegistryReader } from './registry-routes.ts';
import { addStateRoutes } from './state-routes.ts';
import { addWebBackendRoutes } from './web-backend-routes.ts';
import { addWorkspaceRoutes } from './workspace-routes.ts';

export interface ApiOptions extends ApiContext {
  readonly settings: HttpSettings;
  /** Serves the Confluent registry's paths; they are 404 without it. */
  readonly registry?: RegistryReader;
}

/** Airbyte's configuration API of 0.50 over our store. Throws CFG_TOKEN_REQUIRED. */
export function createApi(options: ApiOptions): FastifyInstance {
  const app = createHttpServer(options.settings, options.logger);
  app.get('/api/v1/health', async () => {
    await options.store.ping();
    return { available: true };
  });
  addHealthRoutes(app, { ready: () => options.store.ping() });
  addWorkspaceRoutes(app, options);
  addDefinitionRoutes(app, options);
  addActorRoutes(app, options);
  addConnectionRoutes(app, options);
  addJobRoutes(app, options);
  addPublicApi(app, options, options.settings.apiToken);
  addResetRoutes(app, options);
  addStateRoutes(app, options);
  addWebBackendRoutes(app, options);
  if (options.registry !== undefined) addRegistryRoutes(app, options.registry);
  return app;
}

/** The API as a role of the program. */
export function apiService(options: ApiOptions): HttpService {
  return httpService('api', createApi(options), options.settings, options.logger);
}
