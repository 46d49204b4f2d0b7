import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from 'mysql2';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { LogStatus } from './server.ts';
import { logStatus } from './server.ts';
import { query } from './session.ts';

export interface PreparedRequest {
  readonly waitingSeconds: number;
  readonly say: (text: string) => void;
  readonly cancelled: () => boolean;
}

const LOOK_MS = 500;
/** One that is being prepared or committed right now is not listed; until then its statement is logged. */
const UNLISTED_MS = 2000;
/** As many as a message names. */
const NAMED = 5;
/** MySQL: without XA_RECOVER_ADMIN nobody tells what is prepared. */
const REFUSED = 1401;

/**
 * The rows of an XA transaction lie in the log where it was prepared, and may be committed much later.
 * Where that is before a first copy nobody knows where. Answers with a place in the log behind which all
 * those lie that are open now, after the end of those before it.
 */
export async function afterOlderPrepared(
  session: Connection,
  request: PreparedRequest,
): Promise<LogStatus> {
  const from = await logStatus((sql) => query(session, sql));
  const older = await prepared(session);
  if (await usesXa(session)) await sleep(UNLISTED_MS);
  const started = Date.now();
  for (;;) {
    const now = new Set(older.length === 0 ? [] : await prepared(session));
    const open = older.filter((each) => now.has(each));
    if (open.length === 0) return from;
    if (request.cancelled()) throw new PipelineError('SRC_CONNECTION_LOST', 'the copy was ended');
    const names = namesOf(open);
    if (Date.now() - started >= request.waitingSeconds * 1000) {
      throw new PipelineError(
        'SRC_XA_WAIT',
        `XA transactions that were prepared before the first copy are open for ${request.waitingSeconds} s: ${names}`,
      );
    }
    request.say(`waiting for the end of prepared XA transactions: ${names}`);
    await sleep(LOOK_MS);
  }
}

async function usesXa(session: Connection): Promise<boolean> {
  const rows = await query(session, `SHOW GLOBAL STATUS LIKE 'Com_xa_%'`);
  return rows.some(
    (row) => /prepare|commit/i.test(String(row['Variable_name'])) && Number(row['Value'] ?? 0) > 0,
  );
}

function namesOf(open: readonly string[]): string {
  const more = open.length > NAMED ? ` and ${open.length - NAMED} more` : '';
  return `${open.slice(0, NAMED).join('; ')}${more}`;
}

/** As XA COMMIT and XA ROLLBACK want their names. */
async function prepared(session: Connection): Promise<string[]> {
  try {
    const rows = await query(session, 'XA RECOVER');
    return rows.map((row) => {
      const data = Buffer.from(row['data'] ?? '');
      const middle = Number(row['gtrid_length']);
      return [data.subarray(0, middle), data.subarray(middle)]
        .map((part) => sqlText(part))
        .concat(String(row['formatID']))
        .join(',');
    });
  } catch (error) {
    if ((error as PipelineError).details['errno'] === REFUSED) return [];
    throw error;
  }
}

function sqlText(part: Buffer): string {
  const text = part.toString('latin1');
  return /^[\w .:/+-]*$/.test(text) ? `'${text}'` : `X'${part.toString('hex')}'`;
}
