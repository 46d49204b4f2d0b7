import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';
import type { Connection } from '../../core/store/connections.ts';
import { modeOf, namedStream } from '../../core/store/wanted-work.ts';
import type { NamedStream, ReplayStart } from '../../core/store/work.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { chosenStreams, StreamNames } from './reset-routes.ts';
import { Uuid } from './request-body.ts';

const Replay = Type.Object({
  connectionId: Uuid,
  streams: Type.Optional(StreamNames),
  /** `beginning`, an offset, or a time in ISO 8601. */
  from: Type.Optional(Type.Union([Type.String(), Type.Integer({ minimum: 0 })])),
  rebuild: Type.Optional(Type.Boolean()),
});

/** A call of our own: delivers streams again from their topics. Answers at once with the order's id;
 * connections/status says when it is carried out. */
export function addReplayRoute(app: FastifyInstance, context: ApiContext): void {
  addCall(app, 'connections/replay', Replay, async (body) => {
    const { connectionId, from = 'beginning', rebuild = false } = body;
    const { store } = context;
    const connection = await store.connections.get(connectionId);
    const streams = chosenStreams(connection, body.streams).map(namedStream);
    await refuseUnable(context, connection, streams, rebuild);
    const start = startOf(from);
    await refuseBehindEnd(context, connectionId, streams, start);
    const replayId = await store.replays.order(connectionId, streams, start, rebuild);
    return { connectionId, replayId, streams };
  });
}

async function refuseUnable(
  { store, connectors }: ApiContext,
  { destinationId, document }: Connection,
  streams: readonly NamedStream[],
  rebuild: boolean,
): Promise<void> {
  const { connector } = await store.actors.get('destination', destinationId);
  const destination = await connectors.destinations.load(connector);
  if (destination.replays !== true) {
    throw new PipelineError(
      'API_INVALID_CONNECTION',
      `A ${destination.spec.title} destination cannot be replayed; reset the streams instead`,
    );
  }
  for (const { stream, config } of selectedStreams(document)) {
    const { namespace, name } = namedStream(stream);
    if (!streams.some((each) => each.name === name && each.namespace === namespace)) continue;
    const problem =
      destination.replayProblem?.(modeOf(config.destinationSyncMode), rebuild) ?? null;
    if (problem === null) continue;
    throw new PipelineError(
      'API_INVALID_CONNECTION',
      `stream ${streamLabel({ namespace, name })}: ${problem}`,
    );
  }
}

/** A place behind the end is a slip of the hand, and a rebuild that begins there leaves nothing. */
async function refuseBehindEnd(
  { store, endOf }: ApiContext,
  connectionId: string,
  chosen: readonly NamedStream[],
  start: ReplayStart,
): Promise<void> {
  if (start === 'beginning') return;
  if ('timeMs' in start) {
    if (start.timeMs > Date.now()) throw invalidStart('that time is in the future');
    return;
  }
  const { connections } = await store.work.listActive();
  const work = connections.find((each) => each.connectionId === connectionId);
  for (const stream of work?.streams ?? []) {
    const { namespace, name } = stream;
    if (!chosen.some((each) => each.name === name && each.namespace === namespace)) continue;
    const end = (await endOf?.(stream)) ?? Infinity;
    if (start.offset <= end) continue;
    const label = streamLabel(stream);
    throw invalidStart(
      `offset ${start.offset} lies behind the end: the topic of ${label} ends at ${end}`,
    );
  }
}

function invalidStart(why: string): PipelineError {
  return new PipelineError('API_INVALID_REQUEST', `from: ${why}`);
}

function startOf(from: string | number): ReplayStart {
  if (from === 'beginning') return from;
  if (/^\d+$/.test(String(from))) return { offset: Number(from) };
  const timeMs = Date.parse(String(from));
  if (!Number.isNaN(timeMs)) return { timeMs };
  throw new PipelineError(
    'API_INVALID_REQUEST',
    'from must be beginning, an offset or a time in ISO 8601',
  );
}
