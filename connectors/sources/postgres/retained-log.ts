import { parseConfig } from './config.ts';
import type { SideSession } from './session.ts';

/** Bytes of log that the slot keeps the server from removing; null without a slot of that name. */
export async function retainedLog(sql: SideSession, slot: string): Promise<number | null> {
  const [row] = await sql.query(
    `SELECT pg_wal_lsn_diff(
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
       restart_lsn)::text AS bytes
     FROM pg_replication_slots WHERE slot_name = $1 AND restart_lsn IS NOT NULL`,
    [slot],
  );
  const bytes = row?.['bytes'];
  return bytes === undefined || bytes === null ? null : Math.max(0, Number(bytes));
}

/** Slots are the server's, not a database's. Null for a source that keeps none. */
export function heldOnServer(raw: Record<string, unknown>): string | null {
  const { host, port, capture } = parseConfig(raw);
  return capture === null ? null : `slot ${capture.slot} on ${host.toLowerCase()}:${port}`;
}
