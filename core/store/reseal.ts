import type { Database } from './database.ts';
import type { Sealer } from './sealer.ts';

/** Every column that holds sealed JSON. */
const SEALED = [
  { table: 'actor', column: 'configuration' },
  { table: 'operation', column: 'configuration' },
  { table: 'workspace', column: 'notifications' },
  { table: 'notification', column: 'target' },
] as const;

/**
 * Seals anew, with the present key, all that lies in the store in clear or under the key before it;
 * nothing else about it changes, so no worker starts anew. All or nothing; answers how many rows.
 * Throws CFG_SECRET_KEY for what neither key opens.
 */
export function reseal(database: Database, sealer: Sealer): Promise<number> {
  return database.transaction(async (tx) => {
    let changed = 0;
    for (const { table, column } of SEALED) {
      const rows = await tx.query<{ id: string | number; stored: Record<string, unknown> }>(
        `SELECT id, ${column} AS stored FROM headrace.${table} ORDER BY id FOR UPDATE`,
      );
      for (const { id, stored } of rows.filter((row) => !sealer.isSealedNow(row.stored))) {
        const sealed = sealer.seal(sealer.open(stored));
        await tx.query(`UPDATE headrace.${table} SET ${column} = $2::json WHERE id = $1`, [
          id,
          sealed,
        ]);
        changed++;
      }
    }
    return changed;
  });
}
