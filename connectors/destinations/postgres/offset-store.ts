import { arrayItems, arrayLiteral, literal, OFFSETS_TABLE, quoted } from './identifiers.ts';
import type { Rows, Statement } from './exchange.ts';

/**
 * The bookkeeping table: per partition the next offset, stored in the same transaction as the rows
 * (invariants 3 and 6), and what identifies the table that the rows are in.
 */
export function createOffsets(schema: string): Statement {
  return {
    text: `CREATE TABLE IF NOT EXISTS ${offsetsTable(schema)} (
      connection_id text NOT NULL, topic text NOT NULL, partition integer NOT NULL,
      next_offset bigint, table_schema text NOT NULL, table_name text NOT NULL,
      table_oid oid, table_filenode oid, table_columns text[], highest_partition integer NOT NULL,
      updated_at timestamp with time zone NOT NULL DEFAULT now(),
      ${REPLAY_COLUMNS},
      PRIMARY KEY (connection_id, topic, partition))`,
  };
}

const REPLAY_COLUMNS = `replay_id text, replay_until bigint, is_rebuild boolean NOT NULL DEFAULT false`;

/** A table of the time before replays gets their columns. Asked first: ADD COLUMN IF NOT EXISTS takes
 * the lock that nobody can work beside even when there is nothing to do. */
export function addReplayColumns(schema: string): Statement {
  const added = REPLAY_COLUMNS.split(', ').map((column) => `ADD COLUMN ${column}`);
  const table = offsetsTable(schema);
  return {
    text: `DO ${literal(`BEGIN
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid = ${literal(table)}::pg_catalog.regclass AND attname = 'replay_id') THEN
        ALTER TABLE ${table} ${added.join(', ')};
      END IF;
    END`)}`,
  };
}

export function offsetsTable(schema: string): string {
  return `${quoted(schema)}.${quoted(OFFSETS_TABLE)}`;
}

export interface StoredPartition {
  readonly partition: number;
  /** Null until a batch has been applied. */
  readonly nextOffset: number | null;
  readonly schema: string;
  readonly table: string;
  /** 0 while there is no table, because no schema was known. */
  readonly oid: number;
  /** Changes when the table's contents are replaced: TRUNCATE, VACUUM FULL, a rewrite. */
  readonly filenode: number;
  /** The source's columns that we made. */
  readonly columns: readonly string[];
  /** The highest partition ever opened: a lower one without a row was deleted by somebody. */
  readonly highest: number;
  /** The replay that was begun last. */
  readonly replayId: string | null;
  /** Below this offset of a replay in place, events are known to be in the table's state; of a
   * rebuild, where it is whole. Null when none is under way. */
  readonly replayUntil: number | null;
  /** Rows go to a table beside the live one. */
  readonly isRebuild: boolean;
}

export function selectPartitions(schema: string, connectionId: string, topic: string): Statement {
  return {
    text: `SELECT partition, next_offset, table_schema, table_name, coalesce(table_oid,0),
        coalesce(table_filenode,0), coalesce(table_columns,'{}'), highest_partition,
        replay_id, replay_until, is_rebuild
      FROM ${offsetsTable(schema)} WHERE connection_id=$1 AND topic=$2 ORDER BY partition`,
    values: [connectionId, topic],
  };
}

/** The same, and nobody moves an offset until the transaction ends. */
export function lockTopic(schema: string, connectionId: string, topic: string): Statement {
  const { text, values } = selectPartitions(schema, connectionId, topic);
  return { text: `${text} FOR UPDATE`, values: values as string[] };
}

export function readPartitions(rows: Rows): StoredPartition[] {
  return rows.map(
    ([partition, next, schema, table, oid, filenode, columns, highest, ...replay]) => ({
      partition: Number(partition),
      nextOffset: next === null ? null : Number(next),
      schema: schema as string,
      table: table as string,
      oid: Number(oid),
      filenode: Number(filenode),
      columns: arrayItems(columns as string),
      highest: Number(highest),
      replayId: replay[0] ?? null,
      replayUntil: replay[1] == null ? null : Number(replay[1]),
      isRebuild: replay[2] === 't',
    }),
  );
}

/** Makes the rows of all partitions up to `partition`, so that a missing one is known to be lost. */
export function insertPartitions(
  schema: string,
  connectionId: string,
  topic: string,
  partition: number,
  table: { readonly schema: string; readonly table: string },
): Statement[] {
  const values = [connectionId, topic, String(partition)];
  return [
    {
      text: `INSERT INTO ${offsetsTable(schema)}
          (connection_id, topic, partition, table_schema, table_name, highest_partition)
        SELECT $1, $2, p, $4, $5, $3::int FROM generate_series(0, $3::int) AS p
        ON CONFLICT DO NOTHING`,
      values: [...values, table.schema, table.table],
    },
    {
      text: `UPDATE ${offsetsTable(schema)} SET highest_partition=$3::int
        WHERE connection_id=$1 AND topic=$2 AND highest_partition<$3::int`,
      values,
    },
  ];
}

/** Notes which table the topic's rows are in, and the columns we made. */
export function identifyTable(
  schema: string,
  connectionId: string,
  topic: string,
  table: { readonly schema: string; readonly table: string },
  columns: readonly string[],
): Statement {
  const name = literal(`${quoted(table.schema)}.${quoted(table.table)}`);
  return {
    text: `UPDATE ${offsetsTable(schema)} o
      SET table_oid=c.oid, table_filenode=c.relfilenode, table_columns=$3::text[]
      FROM pg_class c WHERE c.oid=${name}::regclass AND o.connection_id=$1 AND o.topic=$2`,
    values: [connectionId, topic, arrayLiteral(columns)],
  };
}

/** A table's contents were replaced in a way that kept its rows (VACUUM FULL): that is its identity now. */
export function acceptFilenode(schema: string, connectionId: string, topic: string): Statement {
  return {
    text: `UPDATE ${offsetsTable(schema)} o SET table_filenode=c.relfilenode FROM pg_class c
      WHERE c.oid=o.table_oid AND o.connection_id=$1 AND o.topic=$2`,
    values: [connectionId, topic],
  };
}

export interface PartitionKey {
  readonly topic: string;
  readonly partition: number;
}

function partitionArrays(partitions: readonly PartitionKey[]): [string, string] {
  return [
    arrayLiteral(partitions.map(({ topic }) => topic)),
    arrayLiteral(partitions.map(({ partition }) => partition)),
  ];
}

/** Locks the rows of the partitions, in one order for all writers, and answers topic, partition,
 * next offset, whether the table is still the one noted, and whether its file is. */
export function lockPartitions(
  schema: string,
  connectionId: string,
  partitions: readonly PartitionKey[],
): Statement {
  return {
    text: `SELECT o.topic, o.partition, o.next_offset,
        coalesce(c.relname=o.table_name AND n.nspname=o.table_schema, false),
        coalesce(c.relfilenode=o.table_filenode, false)
      FROM ${offsetsTable(schema)} o
      JOIN unnest($2::text[], $3::int4[]) AS w(topic, partition) USING (topic, partition)
      LEFT JOIN pg_class c ON c.oid=o.table_oid LEFT JOIN pg_namespace n ON n.oid=c.relnamespace
      WHERE o.connection_id=$1 ORDER BY o.topic, o.partition FOR UPDATE OF o`,
    values: [connectionId, ...partitionArrays(partitions)],
  };
}

export function storeOffsets(
  schema: string,
  connectionId: string,
  offsets: readonly (PartitionKey & { readonly next: number })[],
): Statement {
  return {
    text: `UPDATE ${offsetsTable(schema)} o SET next_offset=w.next, updated_at=now()
      FROM unnest($2::text[], $3::int4[], $4::int8[]) AS w(topic, partition, next)
      WHERE o.connection_id=$1 AND o.topic=w.topic AND o.partition=w.partition`,
    values: [connectionId, ...partitionArrays(offsets), arrayLiteral(offsets.map((o) => o.next))],
  };
}

/** SQLSTATE of `moveOffsets` where it does not apply. */
export const OFFSETS_NOT_AS_LEFT = '22P02';

/**
 * Stores offsets in place of those that this writer stored last, while the tables are the ones noted;
 * else it fails, by a text that is no number, so that nothing behind it in the flight is done. The
 * comparison is of the locked row, as that of `lockPartitions`.
 */
export function moveOffsets(
  schema: string,
  connectionId: string,
  moves: readonly (PartitionKey & {
    readonly from: number | null;
    readonly next: number;
    /** Rows go to the partition's table. */
    readonly writes: boolean;
  })[],
): Statement {
  return {
    text: `WITH moved AS (
        UPDATE ${offsetsTable(schema)} o SET next_offset=w.next, updated_at=now()
        FROM unnest($2::text[], $3::int4[], $4::int8[], $5::int8[], $6::bool[])
          AS w(topic, partition, stored, next, writes)
        WHERE o.connection_id=$1 AND o.topic=w.topic AND o.partition=w.partition
          AND o.next_offset IS NOT DISTINCT FROM w.stored
          AND (NOT w.writes OR EXISTS (
            SELECT FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace
            WHERE c.oid=o.table_oid AND c.relname=o.table_name AND n.nspname=o.table_schema
              AND c.relfilenode=o.table_filenode))
        RETURNING 1)
      SELECT CASE WHEN count(*)=$7::int8 THEN 0
        ELSE ('offsets that are as they were left: ' || count(*))::int END FROM moved`,
    isRepeated: true,
    values: [
      connectionId,
      ...partitionArrays(moves),
      arrayLiteral(moves.map(({ from }) => from)),
      arrayLiteral(moves.map(({ next }) => next)),
      arrayLiteral(moves.map(({ writes }) => String(writes))),
      String(moves.length),
    ],
  };
}
