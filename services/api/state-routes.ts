import type { FastifyInstance } from 'fastify';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { ConnectionId } from './connection-requests.ts';

/**
 * Airbyte's ConnectionState with the source's position as it was last reported. Read only: the state
 * itself lies in Kafka beside the events it stands for, and cannot be set from outside without
 * breaking that bond (invariants 1 and 2).
 */
export function addStateRoutes(app: FastifyInstance, { store }: ApiContext): void {
  addCall(app, 'state/get', ConnectionId, async ({ connectionId }) => {
    const connection = await store.connections.get(connectionId);
    const captureId = await store.work.captureIdOf(connection.sourceId);
    const report = (await store.work.sourceReport(captureId))?.report;
    const position = report?.capturedThrough ?? null;
    if (report === undefined || position === null) return { stateType: 'not_set', connectionId };
    const streamStates = selectedStreams(connection.document).map(({ stream }) => ({
      streamDescriptor: {
        name: stream.name,
        ...(stream.namespace === undefined ? {} : { namespace: stream.namespace }),
      },
      streamState: {
        phase:
          report.streams.find(
            (each) => each.name === stream.name && each.namespace === (stream.namespace ?? ''),
          )?.phase ?? 'pending',
      },
    }));
    return {
      stateType: 'global',
      connectionId,
      globalState: { shared_state: { position }, streamStates },
    };
  });
  for (const word of ['create_or_update', 'create_or_update_safe']) {
    addCall(app, `state/${word}`, ConnectionId, async ({ connectionId }) => {
      await store.connections.get(connectionId);
      throw new PipelineError(
        'API_STATE_READ_ONLY',
        `The state of the connection ${connectionId} lies in Kafka beside its events and cannot be set`,
        { details: { id: connectionId } },
      );
    });
  }
}
