import type { Client } from 'pg';
import type { StoredPartition } from './offset-store.ts';
import { marker, refusal, type OwnedTable } from './owned-table.ts';
import { isEmpty, type CatalogTable } from './table-catalog.ts';
import { tableOf } from './table-statements.ts';

/** Throws the code of what contradicts the bookkeeping. */
export async function refuseContradictions(
  client: Client,
  owned: OwnedTable,
  partitions: readonly StoredPartition[],
  table: CatalogTable | null,
  partition: number | null,
): Promise<void> {
  const known = partitions.find(({ oid }) => oid !== 0);
  if (known !== undefined) await refuseChangedTable(client, owned, partitions, known, table);
  else if (table !== null) await refuseForeignTable(client, owned, table);
  if (partition === null || partitions.some((row) => row.partition === partition)) return;
  if (partitions.some(({ highest }) => partition <= highest)) {
    throw refusal(owned, 'DST_STATE_LOST', `the offset of partition ${partition} is gone`);
  }
}

async function refuseChangedTable(
  client: Client,
  owned: OwnedTable,
  partitions: readonly StoredPartition[],
  known: StoredPartition,
  table: CatalogTable | null,
): Promise<void> {
  const changed = (what: string) => refusal(owned, 'DST_TABLE_CHANGED', what);
  const { name } = owned;
  if (known.schema !== name.schema || known.table !== name.table) {
    throw changed(`its rows so far are in ${tableOf(known)}`);
  }
  if (table === null) throw changed('the table is gone');
  if (table.oid !== known.oid) throw changed('the table was replaced by another one');
  const names = new Set(table.columns.map((column) => column.name));
  const missing = known.columns.find((column) => !names.has(column));
  if (missing !== undefined) throw changed(`column "${missing}" is gone`);
  const hasRows = partitions.some(({ nextOffset }) => nextOffset !== null);
  if (hasRows && known.filenode !== table.filenode && (await isEmpty(client, name))) {
    throw changed('the table was truncated');
  }
}

/** A table without an offset of ours: only an empty one that carries our marker may be taken. */
async function refuseForeignTable(
  client: Client,
  owned: OwnedTable,
  table: CatalogTable,
): Promise<void> {
  const comment = table.comment ?? '';
  if (!comment.startsWith('headrace:')) {
    throw refusal(owned, 'DST_TABLE_FOREIGN', 'a table of that name exists and is not ours');
  }
  if (comment !== marker(owned)) {
    const [, connection = '', ...stream] = comment.split(':');
    const what = `the table belongs to stream ${stream.join(':')} of connection ${connection}`;
    throw refusal(owned, 'DST_NAME_CONFLICT', what);
  }
  if (await isEmpty(client, owned.name)) return;
  throw refusal(owned, 'DST_STATE_LOST', 'the table has rows, but its offsets are gone');
}
