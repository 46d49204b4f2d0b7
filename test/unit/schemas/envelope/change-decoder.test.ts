import avsc from 'avsc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import {
  columnsOfRow,
  keyAvroSchema,
  rowOfEnvelope,
  valueAvroSchema,
} from '../../../../schemas/envelope/avro-schema.ts';
import {
  CELL_NULL,
  CELL_UNCHANGED,
  ChangeCursor,
  ChangeSchema,
  KeySchema,
  readLong,
} from '../../../../schemas/envelope/change-decoder.ts';
import { WIRE_HEADER_BYTES, writeWireHeader } from '../../../../schemas/envelope/record-view.ts';
import type { Column, StreamSchema } from '../../../../schemas/envelope/stream-schema.ts';
import { KIND_IN_AVRO, type ColumnKind } from '../../../../schemas/values/column-type.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';

const TOPIC = 'headrace.shop.public.orders-2';
const KINDS = Object.keys(KIND_IN_AVRO) as ColumnKind[];
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
function cellOf(kind: ColumnKind): fc.Arbitrary<unknown> {
  switch (KIND_IN_AVRO[kind].primitive) {
    case 'boolean':
      return fc.boolean();
    case 'int':
      return fc.integer();
    case 'long':
      return int64;
    case 'float':
      return fc.float();
    case 'double':
      return fc.double();
    case 'bytes':
      return fc.uint8Array().map((bytes) => Buffer.from(bytes));
    case 'string':
      return fc.string({ unit: 'grapheme' });
  }
}

const streamSchema: fc.Arbitrary<StreamSchema> = fc
  .array(fc.record({ kind: fc.constantFrom(...KINDS), inKey: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((parts) => {
    const columns: Column[] = parts.map((part, i) => ({
      name: i === 0 ? 'größe 1' : `c-${i}`,
      type: { kind: part.kind, native: 'whatever' },
      inKey: part.inKey,
    }));
    return {
      stream: { namespace: 'public', name: 'orders-2' },
      columns,
      key: columns.filter((c) => c.inKey).map((c) => c.name),
    };
  });

function rowOf(schema: StreamSchema, names: string[]): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(
    Object.fromEntries(
      schema.columns.map((c, i) => [
        names[i] as string,
        c.inKey ? cellOf(c.type.kind) : fc.option(cellOf(c.type.kind)),
      ]),
    ),
  );
}

function changeOf(schema: StreamSchema) {
  const names = rowOfEnvelope(valueAvroSchema(TOPIC, schema)).fields.map((f) => f.name);
  const row = rowOf(schema, names);
  return fc.record({
    before: fc.option(row),
    after: fc.option(row),
    source: fc.record({
      connector: fc.constant('postgres'),
      name: fc.constant('headrace.shop'),
      db: fc.string(),
      schema: fc.string(),
      table: fc.string(),
      snapshot: fc.constantFrom('true', 'false', 'last'),
      ts_ms: int64,
      ts_us: fc.bigInt({ min: -(2n ** 52n), max: 2n ** 52n }),
      txId: fc.bigInt({ min: 0n, max: 2n ** 32n }),
      lsn: int64,
      seq: fc.nat(),
      epoch: fc.nat(),
    }),
    op: fc.constantFrom('r', 'c', 'u', 'd', 't'),
    ts_ms: fc.option(int64),
    unchanged: fc.option(
      fc.subarray(schema.columns.filter((c) => !c.inKey).map((column) => column.name)),
    ),
  });
}

function wire(encoded: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(WIRE_HEADER_BYTES), encoded]);
  writeWireHeader(bytes, 0, 7);
  return bytes;
}

function expectCells(schema: ChangeSchema, bytes: Buffer, spans: Int32Array, row: unknown[]): void {
  schema.columns.forEach((column, i) => {
    const start = spans[i * 2] as number;
    const end = spans[i * 2 + 1] as number;
    const expected = row[i];
    if (start === CELL_UNCHANGED) return;
    if (expected === null) {
      expect(start).toBe(CELL_NULL);
      return;
    }
    const primitive = KIND_IN_AVRO[column.type.kind].primitive;
    const raw = bytes.subarray(start, end);
    const length =
      primitive === 'string' || primitive === 'bytes'
        ? avsc.Type.forSchema('int').toBuffer(end - start)
        : '';
    expect(avroOracle(primitive).fromBuffer(Buffer.concat([Buffer.from(length), raw]))).toEqual(
      expected,
    );
  });
}

describe('ChangeCursor', () => {
  it('finds every cell that avsc wrote, for any schema and any change', () => {
    fc.assert(
      fc.property(
        streamSchema.chain((schema) => fc.tuple(fc.constant(schema), changeOf(schema))),
        ([schema, change]) => {
          const avro = valueAvroSchema(TOPIC, schema);
          const bytes = wire(avroOracle(avro).toBuffer(change));
          const parsed = new ChangeSchema(7, JSON.parse(JSON.stringify(avro)));
          const cursor = new ChangeCursor();
          cursor.decode(parsed, bytes, 0, bytes.length);
          expect(String.fromCharCode(cursor.op)).toBe(change.op);
          expect(cursor.snapshot).toBe(change.source.snapshot !== 'false');
          expect(BigInt.asIntN(64, cursor.lsn)).toBe(change.source.lsn);
          expect(BigInt(cursor.tsUs)).toBe(change.source.ts_us);
          expect(BigInt(cursor.txId)).toBe(change.source.txId);
          expect(cursor.seq).toBe(change.source.seq);
          expect(cursor.epoch).toBe(change.source.epoch);
          expect(cursor.hasBefore).toBe(change.before !== null);
          expect(cursor.hasAfter).toBe(change.after !== null);
          if (change.before)
            expectCells(parsed, bytes, cursor.before, Object.values(change.before));
          if (change.after) expectCells(parsed, bytes, cursor.after, Object.values(change.after));
          for (const name of change.unchanged ?? []) {
            const index = schema.columns.findIndex((column) => column.name === name);
            expect(cursor.after[index * 2]).toBe(CELL_UNCHANGED);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('passes over columns that are not to be read, and finds the others as before', () => {
    fc.assert(
      fc.property(
        streamSchema.chain((schema) => fc.tuple(fc.constant(schema), changeOf(schema))),
        fc.infiniteStream(fc.boolean()),
        ([schema, change], coins) => {
          const avro = valueAvroSchema(TOPIC, schema);
          const bytes = wire(avroOracle(avro).toBuffer(change));
          const whole = new ChangeSchema(7, avro);
          const kept = new Set(whole.columns.filter(() => coins.next().value === true));
          const part = whole.only((column) => kept.has(column) || column.inKey);
          const [all, some] = [new ChangeCursor(), new ChangeCursor()];
          all.decode(whole, bytes, 0, bytes.length);
          some.decode(part, bytes, 0, bytes.length);
          part.columns.forEach(({ name }, i) => {
            const from = whole.columns.findIndex((column) => column.name === name);
            for (const image of ['before', 'after'] as const) {
              if (image === 'before' ? !all.hasBefore : !all.hasAfter) continue;
              const [start, end] = [all[image][from * 2], all[image][from * 2 + 1]];
              expect(some[image][i * 2]).toBe(start);
              if ((start as number) >= 0) expect(some[image][i * 2 + 1]).toBe(end);
            }
          });
          const names = new Set(part.columns.map(({ name }) => name));
          expect(some.hasUnchanged).toBe((change.unchanged ?? []).some((each) => names.has(each)));
          expect([some.op, some.seq, some.lsn]).toEqual([all.op, all.seq, all.lsn]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('gives back the stream schema that an Avro schema was made from', () => {
    fc.assert(
      fc.property(streamSchema, (schema) => {
        const columns = columnsOfRow(rowOfEnvelope(valueAvroSchema(TOPIC, schema)));
        expect(columns).toEqual(schema.columns);
      }),
    );
  });

  it('SR-05: refuses a record that is cut short or too long', () => {
    const schema: StreamSchema = {
      stream: { namespace: 'public', name: 't' },
      columns: [{ name: 'id', type: { kind: 'string' }, inKey: true }],
      key: ['id'],
    };
    const avro = valueAvroSchema(TOPIC, schema);
    const source = { connector: '', name: '', db: '', schema: '', table: '', snapshot: 'false' };
    const numbers = { ts_ms: 1n, ts_us: 1n, txId: 1n, lsn: 1n, seq: 1, epoch: 1 };
    const bytes = wire(
      avroOracle(avro).toBuffer({
        before: null,
        after: { id: 'abcdef' },
        source: { ...source, ...numbers },
        op: 'c',
        ts_ms: null,
        unchanged: null,
      }),
    );
    const parsed = new ChangeSchema(7, avro);
    const cursor = new ChangeCursor();
    for (const cut of [
      bytes.subarray(0, bytes.length - 1),
      Buffer.concat([bytes, Buffer.from('x')]),
    ]) {
      expect(() => cursor.decode(parsed, cut, 0, cut.length)).toThrow(PipelineError);
    }
    const bomb = Buffer.from(bytes);
    bomb.fill(0xff, 7, 9);
    expect(() => cursor.decode(parsed, bomb, 0, bomb.length)).toThrow(PipelineError);
  });
});

describe('KeySchema', () => {
  it('reads the key columns in key order', () => {
    const schema: StreamSchema = {
      stream: { namespace: 'public', name: 't' },
      columns: [
        { name: 'b', type: { kind: 'int64' }, inKey: true },
        { name: 'a', type: { kind: 'string' }, inKey: true },
      ],
      key: ['a', 'b'],
    };
    const avro = keyAvroSchema(TOPIC, schema);
    const bytes = wire(avroOracle(avro).toBuffer({ a: 'x', b: 5n }));
    const key = new KeySchema(7, avro);
    const spans = new Int32Array(4);
    key.decode(bytes, 0, spans);
    expect(key.columns.map((column) => column.name)).toEqual(['a', 'b']);
    expect(bytes.toString('utf8', spans[0], spans[1])).toBe('x');
    expect(readLong(bytes, spans[2] as number)).toBe(5);
  });
});
