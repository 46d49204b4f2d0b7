import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import {
  isReadByJob,
  selectedStreams,
  type ConfiguredStream,
} from '../../core/store/connection-document.ts';
import { namedStream } from '../../core/store/wanted-work.ts';
import type { SourceReport } from '../../core/store/work.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { ConnectionId } from './connection-requests.ts';
import { Text, Uuid } from './request-body.ts';
import { resetStreams } from './reset-routes.ts';

const StreamDescriptor = Type.Object({
  name: Text,
  namespace: Type.Optional(Type.Union([Text, Type.Null()])),
});

/** Of Airbyte's ConnectionState, what a state can be put with here: streams that are to begin anew. */
const NewState = Type.Object({
  connectionId: Uuid,
  connectionState: Type.Optional(
    Type.Object({
      streamState: Type.Optional(
        Type.Array(
          Type.Object({
            streamDescriptor: StreamDescriptor,
            streamState: Type.Optional(Type.Unknown()),
          }),
        ),
      ),
    }),
  ),
});

/**
 * Airbyte's ConnectionState: the source's position and its streams' phases as they were last reported;
 * of a connection that jobs alone read, the streams. The state itself lies in Kafka beside the events it
 * stands for and cannot be given a value from outside without breaking that bond (invariants 1 and
 * 2). Streams whose state is put to null begin anew, as in Airbyte: that is a reset.
 */
export function addStateRoutes(app: FastifyInstance, context: ApiContext): void {
  addCall(app, 'state/get', ConnectionId, ({ connectionId }) => stateOf(context, connectionId));
  for (const word of ['create_or_update', 'create_or_update_safe']) {
    addCall(app, `state/${word}`, NewState, async (body) => {
      const { connectionId } = body;
      await context.store.connections.get(connectionId);
      await resetStreams(context, connectionId, emptied(body));
      return stateOf(context, connectionId);
    });
  }
}

async function stateOf({ store }: ApiContext, connectionId: string): Promise<object> {
  const connection = await store.connections.get(connectionId);
  const captureId = await store.work.captureIdOf(connection.sourceId);
  const log = (await store.work.sourceReport(captureId))?.report ?? null;
  const read = (await store.work.readReport(connectionId))?.report ?? null;
  const streams = selectedStreams(connection.document).map((each) => ({
    streamDescriptor: namesOf(each),
    streamState: { phase: phaseOf(each, isReadByJob(each) ? read : log) },
  }));
  const position = log?.capturedThrough ?? null;
  if (position !== null) {
    const globalState = { shared_state: { position }, streamStates: streams };
    return { stateType: 'global', connectionId, globalState };
  }
  if (read === null) return { stateType: 'not_set', connectionId };
  return { stateType: 'stream', connectionId, streamState: streams };
}

function namesOf({ stream: { name, namespace } }: ConfiguredStream): object {
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

function phaseOf({ stream }: ConfiguredStream, report: SourceReport | null): string {
  const { namespace, name } = namedStream(stream);
  const found = report?.streams.find((each) => each.name === name && each.namespace === namespace);
  return found?.phase ?? 'pending';
}

/** The streams that a state without a value for each of them names. */
function emptied({ connectionId, connectionState }: Static<typeof NewState>) {
  const states = connectionState?.streamState ?? [];
  if (states.length > 0 && states.every(({ streamState = null }) => streamState === null)) {
    return states.map(({ streamDescriptor: { name, namespace } }) => ({
      streamName: name,
      streamNamespace: namespace ?? null,
    }));
  }
  throw new PipelineError(
    'API_STATE_READ_ONLY',
    `The state of the connection ${connectionId} lies in Kafka beside its events and cannot be set`,
    { details: { id: connectionId } },
  );
}
