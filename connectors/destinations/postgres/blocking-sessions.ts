import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { exchange } from './exchange.ts';
import { arrayLiteral, quoted } from './identifiers.ts';
import type { Sessions } from './sessions.ts';

/** Process ids of other sessions that hold locks on the tables: whoever made us give up is among
 * them, for a lock on a row comes with one on its table. */
export async function blockingPids(
  sessions: Sessions,
  tables: readonly { readonly schema: string; readonly table: string }[],
): Promise<string[]> {
  const names = tables.map(({ schema, table }) => `${quoted(schema)}.${quoted(table)}`);
  const answer = await sessions.use((client) =>
    exchange(client, [
      {
        text: `SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l
          JOIN pg_catalog.unnest($1::pg_catalog.text[]) AS n(name) ON l.relation = pg_catalog.to_regclass(n.name)
          WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND l.mode <> 'AccessShareLock' ORDER BY 1`,
        values: [arrayLiteral(names)],
      },
    ]),
  );
  return (answer[0]?.rows ?? []).map(([pid]) => pid as string);
}

export function blockedError(error: PipelineError, pids: readonly string[]): PipelineError {
  const by = pids.length === 0 ? 'by a session that has gone since' : `by pid ${pids.join(', ')}`;
  return new PipelineError('DST_BLOCKED', `${error.message}; blocked ${by}`, {
    details: { ...error.details, blockedBy: pids.join(',') },
  });
}
