import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';
import type { JobStream } from '../../core/store/jobs.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { ConnectionId } from './connection-requests.ts';
import { jobInfo } from './job-shapes.ts';
import { Text, Uuid } from './request-body.ts';

const SomeStreams = Type.Object({
  connectionId: Uuid,
  streams: Type.Array(
    Type.Object({
      streamName: Text,
      streamNamespace: Type.Optional(Type.Union([Text, Type.Null()])),
    }),
    { minItems: 1 },
  ),
});

/** Airbyte's words for one thing here: copy streams anew from their source. */
export function addResetRoutes(app: FastifyInstance, context: ApiContext): void {
  for (const word of ['reset', 'clear', 'refresh']) {
    addCall(app, `connections/${word}`, ConnectionId, (body) =>
      resetStreams(context, body.connectionId),
    );
    addCall(app, `connections/${word}/stream`, SomeStreams, (body) =>
      resetStreams(
        context,
        body.connectionId,
        body.streams.map(({ streamName, streamNamespace }) => ({
          name: streamName,
          namespace: streamNamespace ?? '',
        })),
      ),
    );
  }
}

/** Answers at once with the job. Throws API_INVALID_CONNECTION for a stream that is not selected. */
export async function resetStreams(
  { store }: ApiContext,
  connectionId: string,
  named?: readonly { readonly name: string; readonly namespace: string }[],
): Promise<object> {
  const { document } = await store.connections.get(connectionId);
  const selected = selectedStreams(document).map(({ stream: { name, namespace } }): JobStream => ({
    name,
    ...(namespace === undefined ? {} : { namespace }),
  }));
  const streams =
    named === undefined ? selected : named.map((each) => found(selected, each, connectionId));
  return jobInfo(store, await store.jobs.createReset(connectionId, streams));
}

/** Without a namespace the name alone decides. */
function found(
  selected: readonly JobStream[],
  wanted: { readonly name: string; readonly namespace: string },
  connectionId: string,
): JobStream {
  const stream = selected.find(
    ({ name, namespace = '' }) =>
      name === wanted.name && (wanted.namespace === '' || namespace === wanted.namespace),
  );
  if (stream !== undefined) return stream;
  throw new PipelineError(
    'API_INVALID_CONNECTION',
    `Stream ${wanted.name} is not a selected stream of the connection ${connectionId}`,
    { details: { id: connectionId } },
  );
}
