import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { LogTail } from '../../core/observe/log-tail.ts';
import { bodyReader } from './request-body.ts';

const LogsRequest = Type.Object({ logType: Type.Enum(['server', 'scheduler']) });

/** Airbyte's logs/get: text, one line of JSON each. What this process has said last; of a scheduler
 * that runs elsewhere there is nothing here. */
export function addLogRoute(app: FastifyInstance, logs: LogTail): void {
  const read = bodyReader(LogsRequest);
  app.post('/api/v1/logs/get', { config: { body: LogsRequest } }, async (request, reply) => {
    const { logType } = read(request.body);
    const text = logs.text(logType === 'scheduler' ? 'scheduler' : null);
    return reply.type('text/plain; charset=utf-8').send(text);
  });
}
