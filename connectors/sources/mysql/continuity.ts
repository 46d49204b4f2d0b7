import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { newServer } from './failover.ts';
import { GtidSet } from './gtid-set.ts';
import { fileName, placeOfText, placeText, type MysqlDetails } from './position.ts';
import type { ElsewhereMark } from './read-elsewhere.ts';
import { executedGtids, logStatus, type LogStatus, type ServerFacts } from './server.ts';
import type { SideSession } from './session.ts';

export interface StartPlace {
  /** Everything before it was delivered. */
  readonly position: bigint;
  /** Where the log is read from: the anchor, which is compared, or the position itself. */
  readonly readFrom: bigint;
  readonly anchored: boolean;
  /** It is another server's log: a new epoch begins. */
  readonly moved: boolean;
  /** What of it was read from another server. */
  readonly elsewhere: ElsewhereMark | null;
}

export function freshStart(place: bigint): StartPlace {
  return { position: place, readFrom: place, anchored: false, moved: false, elsewhere: null };
}

/**
 * Whether the log can be continued from the stored position without a gap. A server that was reset or
 * restored has files of the same names with other content, and would stream from anywhere in them.
 */
export async function checkContinuity(
  sql: SideSession,
  server: ServerFacts,
  details: MysqlDetails,
  position: bigint,
): Promise<StartPlace> {
  const now = await logStatus((text) => sql.query(text));
  if (server.identity !== details.server || now.base !== details.base) {
    const { readFrom, elsewhere } = await newServer(sql, server, details, now);
    return { position: readFrom, readFrom, anchored: false, moved: true, elsewhere };
  }
  return sameServer(sql, server, details, position, now);
}

async function sameServer(
  sql: SideSession,
  server: ServerFacts,
  details: MysqlDetails,
  position: bigint,
  now: LogStatus,
): Promise<StartPlace> {
  if (executedGtids(server)?.contains(new GtidSet(server.mariadb, details.gtids)) === false) {
    throw new PipelineError(
      'SRC_POSITION_AHEAD',
      'the server does not have all transactions that were read from it: it was reset or restored',
    );
  }
  if (position > now.place) {
    throw new PipelineError(
      'SRC_POSITION_AHEAD',
      `our position ${placeText(position)} lies beyond the end of the log, ${placeText(now.place)}: it was reset or restored`,
    );
  }
  const files = new Set(
    (await sql.query('SHOW BINARY LOGS')).map((row) => String(row['Log_name'])),
  );
  const same = { position, moved: false, elsewhere: details.elsewhere ?? null };
  const anchor = details.anchor === null ? null : placeOfText(details.anchor.place);
  if (anchor !== null && files.has(fileName(details.base, anchor))) {
    return { ...same, readFrom: anchor, anchored: true };
  }
  const file = fileName(details.base, position);
  if (files.has(file)) return { ...same, readFrom: position, anchored: false };
  throw new PipelineError(
    'SRC_BINLOG_PURGED',
    `${file}, from which we would read on, was removed by the server`,
  );
}
