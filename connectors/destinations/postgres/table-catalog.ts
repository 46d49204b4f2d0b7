import type { Client } from 'pg';

import { typeOfSpelling } from './column-type.ts';
import { exchange, type Statement } from './exchange.ts';
import { arrayItems, literal, quoted } from './identifiers.ts';
import {
  META_COLUMN,
  metadataColumns,
  showsRows,
  type ColumnChange,
  type TableColumn,
  type TableLayout,
  type TableMode,
  type TableName,
} from './table-layout.ts';
import { tableOf } from './table-statements.ts';

/** A table as the server's catalog knows it. */
export interface CatalogTable {
  readonly oid: number;
  readonly filenode: number;
  readonly comment: string | null;
  readonly columns: readonly TableColumn[];
  /** Columns of the primary key, in its order. */
  readonly key: readonly string[];
}

/** What stands under a name, or null. */
export async function readTable(
  client: Client,
  schema: string,
  table: string,
): Promise<CatalogTable | null> {
  const values = [schema, table];
  const where =
    'FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace AND n.nspname=$1 AND c.relname=$2';
  const [relation, columns, key] = await exchange(client, [
    {
      text: `SELECT c.oid, coalesce(c.relfilenode,0), obj_description(c.oid,'pg_class') ${where}`,
      values,
    },
    {
      text: `SELECT a.attname, format_type(a.atttypid,a.atttypmod) ${where}
        JOIN pg_attribute a ON a.attrelid=c.oid AND a.attnum>0 AND NOT a.attisdropped ORDER BY a.attnum`,
      values,
    },
    {
      text: `SELECT coalesce(array_agg(a.attname::text ORDER BY k.ord),'{}') ${where}
        JOIN pg_index i ON i.indrelid=c.oid AND i.indisprimary
        CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
        JOIN pg_attribute a ON a.attrelid=c.oid AND a.attnum=k.attnum`,
      values,
    },
  ]);
  const found = relation?.rows[0];
  if (found === undefined) return null;
  return {
    oid: Number(found[0]),
    filenode: Number(found[1]),
    comment: found[2] ?? null,
    columns: (columns?.rows ?? []).map(([name, ddl]) => ({
      name: name as string,
      ...typeOfSpelling(ddl as string),
    })),
    key: arrayItems(key?.rows[0]?.[0] ?? '{}'),
  };
}

export async function isEmpty(client: Client, name: TableName): Promise<boolean> {
  const [answer] = await exchange(client, [
    { text: `SELECT EXISTS (SELECT FROM ${tableOf(name)})` },
  ]);
  return answer?.rows[0]?.[0] === 'f';
}

export function createTable(layout: TableLayout, marker: string): Statement[] {
  const columns = layout.columns.map((column) => definition(layout.mode, column));
  const keys = layout.keys.map((index) => quoted(layout.columns[index]?.name as string));
  if (keys.length > 0) columns.push(`PRIMARY KEY (${keys.join(',')})`);
  return [
    { text: `CREATE TABLE ${tableOf(layout)} (${columns.join(',')})` },
    { text: `COMMENT ON TABLE ${tableOf(layout)} IS ${literal(marker)}` },
  ];
}

/**
 * A table of rows gives those that are older than a column the value they have at the source. It stays
 * the column's default: another instance may still insert rows of the time before.
 */
function definition(
  mode: TableMode,
  { name, ddl, initial }: Pick<ColumnChange, 'name' | 'ddl' | 'initial'>,
): string {
  const isKnown = initial !== undefined && showsRows(mode);
  return `${quoted(name)} ${ddl}${isKnown ? ` DEFAULT ${literal(initial.text)}` : ''}`;
}

/** One statement, so that a rewrite happens once. */
export function alterTable(layout: TableLayout, changes: readonly ColumnChange[]): Statement {
  const actions = changes.map((change) => columnAction(change, layout.mode));
  return { text: `ALTER TABLE ${tableOf(layout)} ${actions.join(',')}` };
}

export function columnAction(change: ColumnChange, mode: TableMode): string {
  return change.kind === 'add'
    ? `ADD COLUMN ${definition(mode, change)}`
    : `ALTER COLUMN ${quoted(change.name)} TYPE ${change.ddl}`;
}

/** Creates the schema unless it exists, inside the caller's transaction. `IF NOT EXISTS` alone asks
 * for a right on the database even when there is nothing to do, and two who create at once would
 * collide in the catalog. */
export async function ensureSchema(client: Client, schema: string): Promise<void> {
  const [, found] = await exchange(client, [
    lockDefinition({ schema, table: '' }),
    { text: 'SELECT 1 FROM pg_namespace WHERE nspname=$1', values: [schema] },
  ]);
  if (found?.rows.length === 1) return;
  await exchange(client, [{ text: `CREATE SCHEMA IF NOT EXISTS ${quoted(schema)}` }]);
}

/** Serialises what several instances do to the definition of one table, until the transaction ends. */
export function lockDefinition(name: {
  readonly schema: string;
  readonly table: string;
}): Statement {
  return {
    text: 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
    values: [`headrace/${name.schema}/${name.table}`],
  };
}

/** Names of the columns that the source's are not told from: ours. */
export function isMetadata(name: string): boolean {
  return METADATA_NAMES.has(name);
}

const METADATA_NAMES: ReadonlySet<string> = new Set(
  [...metadataColumns('append'), ...metadataColumns('raw'), META_COLUMN].map(({ name }) => name),
);
