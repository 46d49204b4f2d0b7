import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';
import type { Connection } from '../../core/store/connections.ts';
import type { JobStream } from '../../core/store/jobs.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { ConnectionId } from './connection-requests.ts';
import { jobInfo } from './job-shapes.ts';
import { Text, Uuid } from './request-body.ts';

export const StreamNames = Type.Array(
  Type.Object({
    streamName: Text,
    streamNamespace: Type.Optional(Type.Union([Text, Type.Null()])),
  }),
  { minItems: 1 },
);

const SomeStreams = Type.Object({
  connectionId: Uuid,
  streams: StreamNames,
});

/** Airbyte's words for one thing here: copy streams anew from their source. */
export function addResetRoutes(app: FastifyInstance, context: ApiContext): void {
  for (const word of ['reset', 'clear', 'refresh']) {
    addCall(app, `connections/${word}`, ConnectionId, (body) =>
      resetStreams(context, body.connectionId),
    );
    addCall(app, `connections/${word}/stream`, SomeStreams, (body) =>
      resetStreams(context, body.connectionId, body.streams),
    );
  }
}

/** Answers at once with the job. Throws API_INVALID_CONNECTION for a stream that is not selected. */
export async function resetStreams(
  { store }: ApiContext,
  connectionId: string,
  named?: Static<typeof StreamNames>,
): Promise<object> {
  const streams = chosenStreams(await store.connections.get(connectionId), named);
  return jobInfo(store, await store.jobs.createReset(connectionId, streams));
}

/** The streams named, or all that are selected. Throws API_INVALID_CONNECTION for another one. */
export function chosenStreams(
  { id, document }: Connection,
  named?: Static<typeof StreamNames>,
): JobStream[] {
  const selected = selectedStreams(document).map(({ stream: { name, namespace } }): JobStream => ({
    name,
    ...(namespace === undefined ? {} : { namespace }),
  }));
  return named === undefined
    ? selected
    : named.map(({ streamName: name, streamNamespace }) =>
        found(selected, { name, namespace: streamNamespace ?? '' }, id),
      );
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
