import { createHash, randomUUID } from 'node:crypto';
import type { Database, Queryable } from './database.ts';
import type { ConnectionWork, NamedStream, ReplayStart } from './work.ts';

export interface StreamReplay extends NamedStream {
  readonly replay: string;
  readonly start: ReplayStart;
  readonly rebuild: boolean;
  readonly done: boolean;
}

interface Row extends StreamReplay {
  readonly connectionId: string;
}

const COLUMNS = `connection_id AS "connectionId", namespace, name, replay, start, rebuild, done`;

/** Orders to deliver streams again from their topics. One stays until another one replaces it, so that
 * no crash can lose it; the destination notes which one it has begun. */
export class Replays {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** Answers the id of the order. */
  async order(
    connectionId: string,
    streams: readonly NamedStream[],
    start: ReplayStart,
    rebuild: boolean,
  ): Promise<string> {
    const replay = randomUUID();
    await this.database.transaction(async (tx) => {
      for (const { namespace, name } of streams) {
        await tx.query(
          `INSERT INTO headrace.stream_replay (connection_id, namespace, name, replay, start, rebuild)
           VALUES ($1, $2, $3, $4, $5::json, $6)
           ON CONFLICT (connection_id, namespace, name) DO UPDATE
             SET replay = excluded.replay, start = excluded.start, rebuild = excluded.rebuild,
               done = false, ordered_at = headrace.now_ms()`,
          [connectionId, namespace, name, replay, JSON.stringify(start), rebuild],
        );
      }
    });
    return replay;
  }

  /** The newest one of each stream that was ever replayed. */
  of(connectionId: string): Promise<StreamReplay[]> {
    return this.database.query<StreamReplay>(
      `SELECT ${COLUMNS} FROM headrace.stream_replay WHERE connection_id = $1`,
      [connectionId],
    );
  }
}

/** Notes that what was ordered is delivered: lost bookkeeping must not begin it again by itself. */
export async function endReplay(
  database: Queryable,
  connectionId: string,
  { namespace, name, replay }: NamedStream & { readonly replay: string },
): Promise<void> {
  await database.query(
    `UPDATE headrace.stream_replay SET done = true
     WHERE connection_id = $1 AND namespace = $2 AND name = $3 AND replay = $4`,
    [connectionId, namespace, name, replay],
  );
}

/** Connections with the orders that are open; a new order changes the version, its end does not. */
export async function withReplays(
  database: Queryable,
  connections: readonly ConnectionWork[],
): Promise<ConnectionWork[]> {
  const rows = await database.query<Row>(`SELECT ${COLUMNS} FROM headrace.stream_replay`);
  return connections.map((work) => {
    const own = rows.filter((row) => row.connectionId === work.connectionId);
    if (own.length === 0) return work;
    const ids = own.map(({ namespace, name, replay }) => [namespace, name, replay].join('\0'));
    const streams = work.streams.map((stream) => {
      const found = own.find(
        (row) => row.namespace === stream.namespace && row.name === stream.name,
      );
      if (found === undefined || found.done) return stream;
      const { replay: id, start, rebuild } = found;
      return { ...stream, replay: { id, start, rebuild } };
    });
    return { ...work, streams, version: versionWith(work.version, ids.toSorted()) };
  });
}

function versionWith(version: string, replays: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([version, replays]));
  return hash.digest('hex').slice(0, 16);
}
