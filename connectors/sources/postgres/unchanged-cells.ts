import type { Relation } from './relations.ts';
import { NEW_TUPLE, TupleReader } from './pgoutput.ts';
import { UNCHANGED_CELL } from '../../capture/row-codec.ts';
import { quoteIdentifier, type SideSession } from './session.ts';
import { askedUntil, isOver } from './visibility.ts';

/**
 * A key change makes a new row elsewhere, and the log leaves out its large cells that did not change:
 * they are read from the table under the new key. A newer version of the row has the values that a
 * later event brings anyhow; a row that is gone is deleted by one.
 */
export async function completeUpdate(
  relation: Relation,
  message: Buffer,
  xid: number,
  sql: SideSession,
): Promise<Buffer> {
  const { columns, namespace, name } = relation.message;
  const spans = new Int32Array(columns.length * 2);
  const tupleStart = newTupleStart(message, columns.length, spans);
  const missing: string[] = [];
  columns.forEach((column, index) => {
    if (spans[index * 2] === UNCHANGED_CELL) missing.push(column.name);
  });
  const key = relation.codec?.schema.key ?? [];
  const values = key.map((keyName) => {
    const index = columns.findIndex((column) => column.name === keyName);
    return message.toString('utf8', spans[index * 2], spans[index * 2 + 1]);
  });
  const row = await readRow(sql, {
    table: `${quoteIdentifier(namespace)}.${quoteIdentifier(name)}`,
    columns: missing,
    key: key.map(quoteIdentifier),
    values,
    xid,
  });
  if (row === null) return message;
  return withCells(
    message,
    tupleStart,
    columns.map((column) => row[column.name]),
    spans,
  );
}

/** Before others see the transaction, the table has what was under the key before, and nothing would ever
 * correct that. */
async function readRow(
  sql: SideSession,
  row: {
    readonly table: string;
    readonly columns: readonly string[];
    readonly key: readonly string[];
    readonly values: readonly string[];
    readonly xid: number;
  },
): Promise<Record<string, unknown> | null> {
  const text = `SELECT t.*, ${isOver(row.key.length + 1)} AS "visible?" FROM (SELECT) AS one
      LEFT JOIN (SELECT true AS "found?", ${row.columns.map(quoteIdentifier).join(', ')} FROM ${row.table}
        WHERE ${row.key.map((name, i) => `${name} = $${i + 1}`).join(' AND ')}) AS t ON true`;
  return askedUntil(async () => {
    const [found] = await sql.query(text, [...row.values, String(row.xid)]);
    if (found?.['visible?'] !== 't') return undefined;
    return found['found?'] === 't' ? found : null;
  });
}

/** Position behind the new tuple's column count. */
function newTupleStart(message: Buffer, columns: number, spans: Int32Array): number {
  const tuple = new TupleReader();
  let pos = 6;
  if (message[5] !== NEW_TUPLE) {
    tuple.read(message, pos, columns, spans);
    pos = tuple.end + 1;
  }
  tuple.read(message, pos, columns, spans);
  return pos + 2;
}

function withCells(
  message: Buffer,
  tupleStart: number,
  found: readonly unknown[],
  spans: Int32Array,
): Buffer {
  const pieces: Buffer[] = [message.subarray(0, tupleStart)];
  let pos = tupleStart;
  for (let i = 0; i < found.length; i++) {
    const start = spans[i * 2] as number;
    const next = start >= 0 ? (spans[i * 2 + 1] as number) : pos + 1;
    if (start === UNCHANGED_CELL) pieces.push(cell(found[i]));
    else pieces.push(message.subarray(pos, next));
    pos = next;
  }
  return Buffer.concat(pieces);
}

function cell(value: unknown): Buffer {
  if (typeof value !== 'string') return Buffer.from('n');
  const text = Buffer.from(value);
  const head = Buffer.alloc(5);
  head[0] = 0x74; // t
  head.writeInt32BE(text.length, 1);
  return Buffer.concat([head, text]);
}
