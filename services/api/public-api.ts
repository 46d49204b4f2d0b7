import type { FastifyInstance } from 'fastify';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { ApiContext } from './api-context.ts';
import { givenToken } from './access.ts';
import { answerErrors, TOKEN_PATHS } from './http-server.ts';
import { addPublicActors } from './public-actors.ts';
import { addPublicConnections } from './public-connections.ts';
import { addPublicJobs } from './public-jobs.ts';
import { addPublicStreams } from './public-streams.ts';
import { addPublicWorkspaces } from './public-workspaces.ts';

/** Tokens do not run out; clients ask anew after this time. The SDK asks at every call below 60. */
const EXPIRES_IN_SECONDS = 3600;

/** Airbyte's newer REST interface, for the clients that speak it; the same objects in other words. */
export function addPublicApi(app: FastifyInstance, context: ApiContext): void {
  for (const path of TOKEN_PATHS) {
    app.post(path, async (request) => {
      const { client_secret: inBody } = (request.body ?? {}) as { client_secret?: unknown };
      const given =
        typeof inBody === 'string' ? inBody : givenToken(request.headers.authorization ?? '');
      if ((await app.tokenHolder(request, given)) === null) {
        throw new PipelineError('API_UNAUTHORIZED', 'The client secret is missing or wrong');
      }
      return {
        access_token: given ?? 'none',
        token_type: 'Bearer',
        expires_in: EXPIRES_IN_SECONDS,
      };
    });
  }
  app.register(
    async (scope) => {
      answerProblems(scope, context.logger);
      scope.get('/health', () => ({ status: 'available' }));
      addPublicWorkspaces(scope, context);
      addPublicActors(scope, context);
      addPublicConnections(scope, context);
      addPublicJobs(scope, context);
      addPublicStreams(scope, context);
    },
    { prefix: '/api/public/v1' },
  );
}

/** Errors as problem documents, unknown routes as well. */
function answerProblems(scope: FastifyInstance, logger: Logger): void {
  answerErrors(scope, logger, ({ status, body }) => ({
    type: `https://reference.airbyte.com/reference/errors#${problemName(status)}`,
    title: problemName(status),
    status,
    detail: body.message,
    documentationUrl: 'docs/errors.md',
    data: { code: body.exceptionClassName, message: body.message, fix: body.fix },
  }));
  scope.setNotFoundHandler((request) => {
    throw new PipelineError('API_NOT_FOUND', `Object not found. ${request.method} ${request.url}`);
  });
}

function problemName(status: number): string {
  switch (status) {
    case 400:
      return 'bad-request';
    case 401:
      return 'invalid-api-key';
    case 403:
      return 'forbidden';
    case 404:
      return 'resource-not-found';
    case 409:
    case 429:
      return 'try-again-later';
    case 422:
      return 'unprocessable-entity';
    default:
      return 'unexpected-problem';
  }
}
