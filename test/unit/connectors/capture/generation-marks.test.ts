import { describe, expect, it } from 'vitest';
import { EventWriter, StreamLane } from '../../../../connectors/capture/event-writer.ts';
import { Outbox } from '../../../../connectors/capture/outbox.ts';
import { RowCodec } from '../../../../connectors/capture/row-codec.ts';
import { valueAvroSchema } from '../../../../schemas/envelope/avro-schema.ts';
import {
  ChangeCursor,
  ChangeSchema,
  OP_MESSAGE,
  OP_READ,
  OP_TRUNCATE,
} from '../../../../schemas/envelope/change-decoder.ts';
import type { RecordArena } from '../../../../schemas/envelope/record-arena.ts';
import { WIRE_HEADER_BYTES } from '../../../../schemas/envelope/record-view.ts';
import type { StreamSchema } from '../../../../schemas/envelope/stream-schema.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';
import { buffersOf } from '../../../support/buffers.ts';

const schema: StreamSchema = {
  stream: { namespace: 'public', name: 'items' },
  columns: [{ name: 'name', type: { kind: 'string' }, inKey: false }],
  key: [],
};
const envelope = valueAvroSchema('t', schema);
const ids = { key: 1, value: 7, truncateKey: 3 };

/** A generation of two rows, as one topic partition gets it. */
function generation(epoch: number): RecordArena {
  const outbox = new Outbox<string>(buffersOf(1024 * 1024));
  const origin = { connector: 'test', serverName: 'srv', database: 'db' };
  const lane = new StreamLane(schema.stream, 1, origin);
  const codec = new RowCodec(schema, ids, [
    (out, src, start, end) => out.writeString(src.toString('utf8', start, end)),
  ]);
  const writer = new EventWriter(outbox, 1_000, epoch);
  writer.beginTransaction(5n, 0, 0, true);
  writer.truncate(lane, codec);
  const row = Buffer.from('abc');
  for (let i = 0; i < 2; i++) {
    writer.change(lane, codec, OP_READ, row, null, Int32Array.of(0, 3), 0, 3);
    writer.settle();
  }
  writer.endGeneration(lane, codec);
  outbox.seal('whole', true);
  const [part] = outbox.take()?.parts ?? [];
  return (part as { arena: RecordArena }).arena;
}

describe('the marks of a generation', () => {
  const arena = generation(4);
  const { bytes } = arena.out;
  const events = Array.from({ length: arena.count }, (_, i) => {
    const start = arena.keyEnds[i] as number;
    const end = arena.valueEnds[i] as number;
    const change = new ChangeCursor();
    change.decode(new ChangeSchema(ids.value, envelope), Buffer.from(bytes), start, end);
    const value = avroOracle(envelope).fromBuffer(
      Buffer.from(bytes.subarray(start + WIRE_HEADER_BYTES, end)),
    ) as { op: string; before: unknown; after: unknown; source: { snapshot: string } };
    return { change, value, key: Buffer.from(bytes.subarray(recordStart(arena, i), start)) };
  });

  it('stand around its rows', () => {
    expect(events.map(({ change }) => change.op)).toEqual([
      OP_TRUNCATE,
      OP_READ,
      OP_READ,
      OP_MESSAGE,
    ]);
    expect(events.map(({ change }) => change.isRow)).toEqual([false, true, true, false]);
    expect(events.map(({ change }) => change.last)).toEqual([false, false, false, true]);
    expect(events.map(({ change }) => change.snapshot)).toEqual([true, true, true, true]);
    expect(events.map(({ change }) => change.epoch)).toEqual([4, 4, 4, 4]);
    const seqs = events.map(({ change }) => change.seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    expect(seqs[3]).toBeGreaterThan(seqs[2] as number);
  });

  it('are read by others as Debezium writes them', () => {
    const [begin, , , end] = events;
    expect(begin?.value).toMatchObject({ op: 't', before: null, after: null });
    expect(end?.value).toMatchObject({ op: 'm', before: null, after: null });
    expect(events.map(({ value }) => value.source.snapshot)).toEqual([
      'true',
      'true',
      'true',
      'last',
    ]);
    expect(begin?.key.length).toBe(WIRE_HEADER_BYTES);
    expect(end?.key).toEqual(begin?.key);
  });
});

function recordStart(arena: RecordArena, i: number): number {
  return i === 0 ? 0 : (arena.valueEnds[i - 1] as number);
}
