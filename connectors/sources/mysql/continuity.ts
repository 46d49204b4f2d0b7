import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { GtidSet } from './gtid-set.ts';
import { fileName, placeOfText, placeText, type MysqlDetails } from './position.ts';
import { logStatus, type ServerFacts } from './server.ts';
import type { SideSession } from './session.ts';

export interface StartPlace {
  /** Everything before it was delivered. */
  readonly position: bigint;
  /** Where the log is read from: the anchor, which is compared, or the position itself. */
  readonly readFrom: bigint;
  readonly anchored: boolean;
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
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      `this is another server: ${server.identity}, not ${details.server}`,
    );
  }
  checkTransactions(server, details);
  if (position > now.place) {
    throw new PipelineError(
      'SRC_POSITION_AHEAD',
      `our position ${placeText(position)} lies beyond the end of the log, ${placeText(now.place)}: it was reset or restored`,
    );
  }
  const files = new Set(
    (await sql.query('SHOW BINARY LOGS')).map((row) => String(row['Log_name'])),
  );
  const anchor = details.anchor === null ? null : placeOfText(details.anchor.place);
  if (anchor !== null && files.has(fileName(details.base, anchor))) {
    return { position, readFrom: anchor, anchored: true };
  }
  const file = fileName(details.base, position);
  if (files.has(file)) return { position, readFrom: position, anchored: false };
  throw new PipelineError(
    'SRC_BINLOG_PURGED',
    `${file}, from which we would read on, was removed by the server`,
  );
}

/** What we have read, the server must have executed. */
function checkTransactions(server: ServerFacts, details: MysqlDetails): void {
  const { variables, mariadb } = server;
  const executed = mariadb ? variables['gtid_binlog_pos'] : variables['gtid_executed'];
  if (!mariadb && variables['gtid_mode'] !== 'ON') return;
  const has = new GtidSet(mariadb, executed ?? '');
  if (has.contains(new GtidSet(mariadb, details.gtids))) return;
  throw new PipelineError(
    'SRC_POSITION_AHEAD',
    'the server does not have all transactions that were read from it: it was reset or restored',
  );
}
