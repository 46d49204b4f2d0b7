import type { Client } from 'pg';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import type { DestinationStream } from '../../spi/destination.ts';
import type { PostgresTarget } from './config.ts';
import { exchange } from './exchange.ts';
import { columnName, literal, quoted } from './identifiers.ts';
import { readShape, selectShape } from './shape-store.ts';

/** A stream's copy, and where what is known of its columns is kept. */
export interface KeyedCopy {
  readonly target: PostgresTarget;
  readonly stream: DestinationStream;
  readonly connectionId: string;
  readonly topic: string;
  /** The table, as SQL. */
  readonly table: string;
  readonly isRaw: boolean;
}

/** How many rows an append table has beyond the first of each key, deletes left out. */
export async function countRepeatedKeys(client: Client, copy: KeyedCopy): Promise<number> {
  const key = await keyOf(client, copy);
  const deleted = copy.isRaw ? `_airbyte_data->>'_ab_cdc_deleted_at'` : '_ab_cdc_deleted_at';
  const text =
    `SELECT count(*) - count(DISTINCT ROW(${key.join(',')})) FROM ${copy.table} ` +
    `WHERE ${deleted} IS NULL`;
  const [answer] = await exchange(client, [{ text }], 0);
  return Number(answer?.rows[0]?.[0]);
}

async function keyOf(client: Client, copy: KeyedCopy): Promise<string[]> {
  const { target, stream, connectionId, topic, isRaw } = copy;
  const { primaryKey } = stream;
  if (isRaw) return primaryKey.map((key) => `_airbyte_data->${literal(columnName(key))}`);
  if (target.normalization === 'typed') return primaryKey.map((key) => quoted(columnName(key)));
  const select = selectShape(target.schema, connectionId, topic);
  const [stored] = await exchange(client, [select]);
  const fields = readShape(stored)[0]?.fields ?? [];
  const columns = new Map(fields.map(({ path, column }) => [pathKey(path), column]));
  return primaryKey.map((key) => quoted(columns.get(pathKey([key])) ?? key));
}
