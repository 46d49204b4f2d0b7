import { EventWriter, StreamLane } from '../../../connectors/capture/event-writer.ts';
import { Outbox } from '../../../connectors/capture/outbox.ts';
import { RowCodec } from '../../../connectors/capture/row-codec.ts';
import { CompiledTable } from '../../../connectors/destinations/postgres/table-batch.ts';
import { targetType } from '../../../connectors/destinations/postgres/column-type.ts';
import { layoutOf } from '../../../connectors/destinations/postgres/table-layout.ts';
import {
  encodeBoolean,
  encodeDouble,
  encodeInteger,
  encodeText,
} from '../../../connectors/sources/postgres/encode-numbers.ts';
import { encodeTimestamptz } from '../../../connectors/sources/postgres/encode-times.ts';
import { RowEvents } from '../../../connectors/sources/postgres/row-events.ts';
import type { PartitionTarget } from '../../../connectors/spi/destination.ts';
import { keyAvroSchema, valueAvroSchema } from '../../../schemas/envelope/avro-schema.ts';
import { ChangeSchema, KeySchema } from '../../../schemas/envelope/change-decoder.ts';
import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import { buffersOf } from '../../support/buffers.ts';

/** One table with the types that most tables have, and its path from the wire to the target. */
const STREAM = { namespace: 'public', name: 'orders' };
const TOPIC = 'headrace.shop.public.orders';
const COLUMNS: StreamSchema['columns'] = [
  { name: 'id', type: { kind: 'int64', native: 'bigint' }, inKey: true },
  { name: 'customer', type: { kind: 'int32', native: 'integer' }, inKey: false },
  { name: 'paid', type: { kind: 'boolean', native: 'boolean' }, inKey: false },
  { name: 'weight', type: { kind: 'float64', native: 'double precision' }, inKey: false },
  { name: 'status', type: { kind: 'string', native: 'text' }, inKey: false },
  { name: 'note', type: { kind: 'string', native: 'text' }, inKey: false },
  { name: 'at', type: { kind: 'timestamptz', native: 'timestamp with time zone' }, inKey: false },
];
const ENCODERS = [
  encodeInteger,
  encodeInteger,
  encodeBoolean,
  encodeDouble,
  encodeText,
  encodeText,
  encodeTimestamptz,
];
const SCHEMA: StreamSchema = { stream: STREAM, key: ['id'], columns: COLUMNS };
const KEY_ID = 1;
const VALUE_ID = 2;

export const TARGET: PartitionTarget = {
  topic: TOPIC,
  partition: 0,
  stream: { stream: STREAM, namespace: 'public', name: 'orders', mode: 'append', primaryKey: [] },
};
export const CHANGES = new ChangeSchema(VALUE_ID, valueAvroSchema(TOPIC, SCHEMA));
export const FILE_COLUMNS = COLUMNS;

/** pgoutput's messages of so many inserted rows. */
export function insertMessages(rows: number): Buffer[] {
  return Array.from({ length: rows }, (_, i) =>
    insertOf([
      String(1_000_000 + i),
      String(i % 1000),
      i % 2 === 0 ? 't' : 'f',
      String(i / 7),
      'open',
      `note number ${i} ${'n'.repeat(100)}`,
      `2026-11-24 10:${String(i % 60).padStart(2, '0')}:00.123456+00`,
    ]),
  );
}

function insertOf(cells: readonly string[]): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 0x49;
  head.writeUInt32BE(4711, 1);
  head[5] = 0x4e;
  head.writeUInt16BE(cells.length, 6);
  const parts = cells.map((cell) => {
    const text = Buffer.from(cell);
    const prefix = Buffer.alloc(5);
    prefix[0] = 0x74;
    prefix.writeUInt32BE(text.length, 1);
    return Buffer.concat([prefix, text]);
  });
  return Buffer.concat([head, ...parts]);
}

/** The source's side: messages in, an arena of records out. */
export class EncodingSide {
  readonly outbox = new Outbox<number>(buffersOf(64 * 1024 * 1024));
  private readonly writer = new EventWriter(this.outbox, 1_000_000, 1);
  private readonly rows = new RowEvents(this.writer);
  private readonly lane = new StreamLane(STREAM, 1, {
    connector: 'postgres',
    serverName: 'headrace.shop',
    database: 'shop',
  });
  private readonly codec = new RowCodec(
    SCHEMA,
    { key: KEY_ID, value: VALUE_ID, truncateKey: 3 },
    ENCODERS,
  );

  encode(messages: readonly Buffer[]) {
    this.writer.beginTransaction(4711n, 7, 1_790_000_000_000_000);
    for (const message of messages) {
      this.rows.insert(this.lane, this.codec, message, 0, message.length);
      this.writer.settle();
    }
    this.outbox.seal(1, false);
    const taken = this.outbox.take();
    if (taken === null) throw new Error('nothing was encoded');
    return taken.parts;
  }
}

/** The target's table, compiled as for appending. */
export function appendedTable(): CompiledTable {
  const name = {
    schema: 'public',
    table: 'orders',
    mode: 'append',
    stream: 'public.orders',
    primaryKey: [],
    isReplaced: false,
  } as const;
  const columns = COLUMNS.map((column) => ({ name: column.name, ...targetType(column.type) }));
  const key = new KeySchema(KEY_ID, keyAvroSchema(TOPIC, SCHEMA));
  const table = new CompiledTable(layoutOf(name, columns), {
    value: () => CHANGES,
    key: () => key,
    load: () => Promise.resolve(),
    latest: () => Promise.resolve(null),
  });
  if (!table.accepts(VALUE_ID)) throw new Error('the table does not fit');
  return table;
}
