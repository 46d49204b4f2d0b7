import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from './api-context.ts';
import { ConnectionId } from './connection-requests.ts';
import { bodyReader } from './request-body.ts';

/** Compares a connection's destination with its source: one object per stream, as they are done. */
export type Verify = (connectionId: string) => Promise<AsyncIterable<object>>;

/** A call of our own, answered as JSON lines: a comparison takes as long as the tables are large. */
export function addVerifyRoute(app: FastifyInstance, { store }: ApiContext, verify: Verify): void {
  const read = bodyReader(ConnectionId);
  app.post('/api/v1/connections/verify', async (incoming, reply) => {
    const { connectionId } = read(incoming.body);
    await store.connections.get(connectionId);
    const lines = Readable.from(jsonLines(await verify(connectionId)));
    return reply.header('content-type', 'application/x-ndjson').send(lines);
  });
}

async function* jsonLines(objects: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const object of objects) yield `${JSON.stringify(object)}\n`;
}
