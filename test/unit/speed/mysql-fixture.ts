import { EventWriter, StreamLane } from '../../../connectors/capture/event-writer.ts';
import { Outbox } from '../../../connectors/capture/outbox.ts';
import { RowCodec } from '../../../connectors/capture/row-codec.ts';
import { Charsets, type Charset } from '../../../connectors/sources/mysql/charsets.ts';
import { wirePlan, type WirePlan } from '../../../connectors/sources/mysql/column-types.ts';
import {
  RowEvents,
  RowShape,
  type LoggedRows,
} from '../../../connectors/sources/mysql/row-events.ts';
import type { SideSession } from '../../../connectors/sources/mysql/session.ts';
import { schemaOf } from '../../../connectors/sources/mysql/shapes.ts';
import { WIRE, type WireColumn } from '../../../connectors/sources/mysql/table-map.ts';
import { OP_CREATE } from '../../../schemas/envelope/change-decoder.ts';
import { buffersOf } from '../../support/buffers.ts';

const STREAM = { namespace: 'shop', name: 'orders' };
const COLUMNS: readonly (readonly [name: string, type: number, meta: number])[] = [
  ['id', WIRE.longlong, 0],
  ['customer', WIRE.long, 0],
  ['amount', WIRE.decimal, 12 | (2 << 8)],
  ['paid', WIRE.tiny, 0],
  ['status', WIRE.varchar, 80],
  ['note', WIRE.varchar, 800],
  ['created', WIRE.datetime2, 6],
  ['updated', WIRE.timestamp2, 0],
];

/** The rows of a WRITE_ROWS event, as MySQL logs them. */
export function loggedRows(rows: number): Buffer {
  return Buffer.concat(Array.from({ length: rows }, (_, i) => loggedRow(1_000_000 + i)));
}

function loggedRow(id: number): Buffer {
  const note = `note number ${id} ${'n'.repeat(100)}`;
  const row = Buffer.alloc(200);
  let pos = row.writeBigInt64LE(BigInt(id), 1);
  pos = row.writeInt32LE(id % 1000, pos);
  // Groups of 1, 9 and 2 digits; the first bit is the sign.
  pos = row.writeUInt8(0x80, pos);
  pos = row.writeUInt32BE(id / 8, pos);
  pos = row.writeUInt8(id % 100, pos);
  pos = row.writeInt8(id % 2, pos);
  pos = row.writeUInt8(4, pos);
  pos += row.write('open', pos);
  pos = row.writeUInt16LE(note.length, pos);
  pos += row.write(note, pos);
  const day = (2026 * 13 + 11) * 32 + 24;
  pos = row.writeUIntBE(0x8000000000 + day * 0x20000 + ((10 << 12) | (id % 60)), pos, 5);
  pos = row.writeUIntBE(123_456, pos, 3);
  pos = row.writeUInt32BE(1_795_000_000 + (id % 60), pos);
  return row.subarray(0, pos);
}

/** What a server answers of its character sets. */
const CATALOG = {
  query: (sql: string) =>
    Promise.resolve(
      sql.includes('MAXLEN') ? [{ name: 'utf8mb4', bytes: '4' }] : [{ name: 'utf8mb4', id: '255' }],
    ),
} as unknown as SideSession;

/** The MySQL source's side: a row event in, an arena of records out. */
export class LoggedSide {
  private readonly outbox = new Outbox<number>(buffersOf(64 * 1024 * 1024));
  private readonly writer = new EventWriter(this.outbox, 1_000_000, 1);
  private readonly rows = new RowEvents(this.writer);
  private readonly lane = new StreamLane(STREAM, 1, {
    connector: 'mysql',
    serverName: 'headrace.shop',
    database: 'shop',
  });
  private readonly codec: RowCodec;
  private readonly shape: RowShape;

  private constructor(plans: readonly WirePlan[]) {
    const names = COLUMNS.map(([name]) => name);
    const ids = { key: 1, value: 2, truncateKey: 3 };
    const encoders = plans.map(({ encode }) => encode);
    this.codec = new RowCodec(schemaOf(STREAM, ['id'], names, plans), ids, encoders);
    this.shape = new RowShape(plans);
  }

  static async open(): Promise<LoggedSide> {
    const charset = (await new Charsets(CATALOG).ofCollation(255)) as Charset;
    const plans = COLUMNS.map(([name, type, meta]) => {
      const column: WireColumn = {
        type,
        meta,
        name,
        unsigned: false,
        collation: 255,
        nullable: false,
        members: [],
      };
      return wirePlan(column, charset, undefined) as WirePlan;
    });
    return new LoggedSide(plans);
  }

  /** Answers how many records were made. */
  encode(event: Buffer): number {
    const { lane, codec, shape } = this;
    const images = { rowsAt: 0, first: null, second: null };
    const rest = { op: OP_CREATE, images, parts: null, partialJson: false } as const;
    const logged: LoggedRows = { lane, codec, shape, ...rest };
    this.writer.beginTransaction(4711n, 7, 1_790_000_000_000_000);
    this.rows.rows(logged, event, 0, event.length);
    this.outbox.seal(1, false);
    const taken = this.outbox.take();
    if (taken === null) throw new Error('nothing was encoded');
    this.outbox.recycle(taken.parts);
    return taken.records;
  }
}
