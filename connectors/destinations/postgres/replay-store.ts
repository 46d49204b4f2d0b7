import type { Replay } from '../../spi/destination.ts';
import type { Statement } from './exchange.ts';
import { quoted } from './identifiers.ts';
import { offsetsTable } from './offset-store.ts';

/** Sets a partition's offset back. In place it goes no further than it stands: what lies between was
 * never delivered. */
export function beginReplay(
  home: string,
  connectionId: string,
  topic: string,
  partition: number,
  replay: Replay,
): Statement {
  const { id, from, until, rebuild } = replay;
  const [next, end] = rebuild
    ? ['$4::bigint', '$5::bigint']
    : ['least(next_offset,$4::bigint)', 'CASE WHEN next_offset<=$5::bigint THEN next_offset END'];
  return {
    text: `UPDATE ${offsetsTable(home)} SET next_offset=${next}, replay_until=${end}, replay_id=$6, is_rebuild=$7
      WHERE connection_id=$1 AND topic=$2 AND partition=$3 AND $5::bigint IS NOT NULL`,
    values: [
      connectionId,
      topic,
      String(partition),
      String(from),
      String(until),
      id,
      String(rebuild),
    ],
  };
}

/** Which table the rows of a topic are to be in from now on, as it stands. */
export function nameTable(
  home: string,
  connectionId: string,
  topic: string,
  { schema, table }: { readonly schema: string; readonly table: string },
): Statement {
  const identity = (column: string) =>
    `(SELECT ${column} FROM pg_class c WHERE c.oid=to_regclass($5))`;
  return {
    text: `UPDATE ${offsetsTable(home)} SET table_schema=$3, table_name=$4,
        table_oid=${identity('c.oid')}, table_filenode=${identity('c.relfilenode')}
      WHERE connection_id=$1 AND topic=$2`,
    values: [connectionId, topic, schema, table, `${quoted(schema)}.${quoted(table)}`],
  };
}

/** What was rebuilt is the live table now. */
export function endRebuild(home: string, connectionId: string, topic: string): Statement {
  return {
    text: `UPDATE ${offsetsTable(home)} SET is_rebuild=false, replay_until=NULL
      WHERE connection_id=$1 AND topic=$2`,
    values: [connectionId, topic],
  };
}
