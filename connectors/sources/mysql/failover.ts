import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { GtidSet } from './gtid-set.ts';
import {
  fileNumber,
  placeOf,
  placeOfText,
  placeText,
  withoutParts,
  type MysqlDetails,
  type StreamMark,
} from './position.ts';
import type { ElsewhereMark } from './read-elsewhere.ts';
import { executedGtids, type LogStatus, type ServerFacts } from './server.ts';
import { quoteLiteral, type SideSession } from './session.ts';

/** Behind a file's magic number: its first event. */
const FILE_START = 4;

export interface NewServer {
  /** The beginning of the newest file before which all transactions were read. */
  readonly readFrom: bigint;
  readonly elsewhere: ElsewhereMark;
}

/**
 * Where another server's log goes on from what the old one's gave us: only transaction ids can tell,
 * for files and offsets are each server's own. Refuses a server that lacks what we have read
 * (SRC_POSITION_AHEAD), or has removed what we have not (SRC_BINLOG_PURGED).
 */
export async function newServer(
  sql: SideSession,
  server: ServerFacts,
  details: MysqlDetails,
  now: LogStatus,
): Promise<NewServer> {
  const read = new GtidSet(server.mariadb, details.gtids);
  const executed = executedGtids(server);
  if (executed === null || read.empty) {
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      `this is another server: ${server.identity}, not ${details.server}, and without GTIDs its log cannot be joined to the other's`,
    );
  }
  if (!executed.contains(read)) {
    throw new PipelineError(
      'SRC_POSITION_AHEAD',
      'the new server does not have all transactions that were read from the one before: it lags behind, or they were lost',
    );
  }
  const { file, before } = await newestFileRead(sql, server.mariadb, read);
  // What a file begins with may already be exactly our last of a domain: it does not come again.
  const coming = new GtidSet(server.mariadb, details.gtids);
  coming.dropSame(before);
  return {
    readFrom: placeOf(fileNumber(file), FILE_START),
    elsewhere: {
      gtids: coming.toString(),
      before: placeText(now.place),
      last: details.anchor,
    },
  };
}

async function newestFileRead(
  sql: SideSession,
  mariadb: boolean,
  read: GtidSet,
): Promise<{ file: string; before: GtidSet }> {
  const files = (await sql.query('SHOW BINARY LOGS')).map((row) => String(row['Log_name']));
  for (const file of files.toReversed()) {
    const before = await gtidsBefore(sql, mariadb, file);
    if (before !== null && read.contains(before)) return { file, before };
  }
  throw new PipelineError(
    'SRC_BINLOG_PURGED',
    'the new server has removed log that was not read from the one before',
  );
}

/** What the log holds before a file, as its head says; null for a file without one. */
async function gtidsBefore(
  sql: SideSession,
  mariadb: boolean,
  file: string,
): Promise<GtidSet | null> {
  const events = await sql.query(`SHOW BINLOG EVENTS IN ${quoteLiteral(file)} LIMIT 5`);
  const head = events.find((row) => /^(Previous_gtids|Gtid_list)$/i.test(row['Event_type'] ?? ''));
  if (head === undefined) return null;
  const text = String(head['Info'] ?? '').replaceAll(/[\s[\]]/g, '');
  return new GtidSet(mariadb, text);
}

/**
 * The marks of streams in the new log's terms. A finished copy that the old log had passed stays; one
 * that it had not yet reached lies at a place that means nothing here, so that it is made again.
 */
export function marksOnNewServer(
  marks: Readonly<Record<string, StreamMark>>,
  position: bigint,
): Record<string, StreamMark> {
  const start = placeText(0n);
  return Object.fromEntries(
    Object.entries(marks).map(([label, stored]) => {
      const mark = withoutParts(stored);
      const passed = placeOfText(mark.from) <= position;
      if (mark.stopped !== undefined || (mark.done && passed)) {
        const shape = mark.shapes?.findLast(({ since }) => placeOfText(since) <= position);
        const shapes = shape === undefined ? {} : { shapes: [{ ...shape, since: start }] };
        return [label, { ...mark, ...shapes, from: start }];
      }
      return [label, { from: start, done: false, partial: true as const, ...copyOf(mark) }];
    }),
  );
}

function copyOf({ copy }: StreamMark): Pick<StreamMark, 'copy'> {
  return copy === undefined ? {} : { copy };
}
