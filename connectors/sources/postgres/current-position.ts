import { sqlStateOf } from './errors.ts';
import { lsnOfServer, lsnText } from './position.ts';
import type { SideSession } from './session.ts';

/**
 * A message in the log marks the present: its position is a record's end, which a reader reaches even
 * on a server where nothing else happens, and its commit flushes everything before it.
 */
export async function currentPosition(sql: SideSession): Promise<string> {
  try {
    const [row] = await sql.query(`SELECT pg_logical_emit_message(true, 'headrace', '') AS lsn`);
    return lsnText(lsnOfServer(String(row?.['lsn'])));
  } catch (error) {
    // A standby writes nothing, and a role may not be let to: then the end of the log it is.
    const state = sqlStateOf((error as Error).cause);
    if (state !== '25006' && state !== '55000' && state !== '42501') throw error;
    const [row] = await sql.query(
      `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
         ELSE pg_current_wal_flush_lsn() END AS lsn`,
    );
    return lsnText(lsnOfServer(String(row?.['lsn'])));
  }
}
