import { once } from 'node:events';
import { createServer } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../core/observe/logger.ts';
import { HTTP_BOUNDS, MAX_CONNECTIONS } from './http-bounds.ts';

/** The second address of an API, with the very routes of the first. */
export interface WebPort {
  /** Takes no further connections; resolves when the requests under way are answered. */
  close(): Promise<void>;
}

/**
 * Airbyte has its API on two ports, the server's and the web proxy's, and its clients disagree about
 * which. A second port that is taken costs those that call it, and nobody else: it is a warning.
 * Answers null then.
 */
export async function openWebPort(
  app: FastifyInstance,
  { apiHost, webPort }: { readonly apiHost: string; readonly webPort: number },
  logger: Logger,
): Promise<WebPort | null> {
  const server = createServer(HTTP_BOUNDS, (request, response) => app.routing(request, response));
  server.maxConnections = MAX_CONNECTIONS;
  try {
    server.listen(webPort, apiHost);
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    logger.warn(
      { port: webPort, code },
      'HEADRACE_WEB_PORT cannot be opened; its API is not there',
    );
    return null;
  }
  logger.info({ port: webPort }, 'listening here as well');
  return {
    async close() {
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
