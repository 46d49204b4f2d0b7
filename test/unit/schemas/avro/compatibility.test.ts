import { describe, expect, test } from 'vitest';
import { checkCompatible } from '../../../../schemas/avro/compatibility.ts';
import { keyAvroSchema, valueAvroSchema } from '../../../../schemas/envelope/avro-schema.ts';
import type { StreamSchema } from '../../../../schemas/envelope/stream-schema.ts';
import type { ColumnKind } from '../../../../schemas/values/column-type.ts';

const TOPIC = 'headrace.shop.public.orders';

function schemaOf(columns: Record<string, ColumnKind>): StreamSchema {
  return {
    stream: { namespace: 'public', name: 'orders' },
    columns: Object.entries(columns).map(([name, kind]) => ({
      name,
      type: { kind },
      inKey: name === 'id',
    })),
    key: ['id'],
  };
}

function check(before: Record<string, ColumnKind>, now: Record<string, ColumnKind>): void {
  const [older, newer] = [schemaOf(before), schemaOf(now)];
  checkCompatible('v', valueAvroSchema(TOPIC, older), valueAvroSchema(TOPIC, newer));
  checkCompatible('k', keyAvroSchema(TOPIC, older), keyAvroSchema(TOPIC, newer));
}

describe('a new schema', () => {
  test.each<[string, Record<string, ColumnKind>, Record<string, ColumnKind>]>([
    ['adds a column', { id: 'int32' }, { id: 'int32', note: 'string' }],
    ['drops a column', { id: 'int32', note: 'string' }, { id: 'int32' }],
    ['widens an integer', { id: 'int32', n: 'int16' }, { id: 'int64', n: 'int64' }],
    ['turns a uuid into text', { id: 'int32', u: 'uuid' }, { id: 'int32', u: 'string' }],
  ])('that %s is taken', (_what, before, now) => {
    expect(() => check(before, now)).not.toThrow();
  });

  test.each<[string, Record<string, ColumnKind>, Record<string, ColumnKind>, RegExp]>([
    [
      'narrows an integer',
      { id: 'int32', n: 'int64' },
      { id: 'int32', n: 'int32' },
      /column n changed from long to int$/,
    ],
    [
      'turns text into a number',
      { id: 'int32', n: 'string' },
      { id: 'int32', n: 'int64' },
      /column n changed from string to long$/,
    ],
    [
      'changes what a number means',
      { id: 'int32', n: 'timestamp' },
      { id: 'int32', n: 'int64' },
      /column n changed from io.debezium.time.MicroTimestamp to long$/,
    ],
  ])('that %s is refused, naming the column', (_what, before, now, message) => {
    expect(() => check(before, now)).toThrow(
      expect.objectContaining({
        code: 'SCH_INCOMPATIBLE',
        message: expect.stringMatching(message) as string,
      }),
    );
  });

  test('with another key is refused, naming the column', () => {
    const older = keyAvroSchema(TOPIC, schemaOf({ id: 'int32' }));
    const columns = schemaOf({ id: 'int32', part: 'string' }).columns;
    const newer = keyAvroSchema(TOPIC, {
      stream: { namespace: 'public', name: 'orders' },
      columns: columns.map((column) => ({ ...column, inKey: true })),
      key: ['id', 'part'],
    });
    expect(() => checkCompatible('k', older, newer)).toThrow(/column part is new/);
  });
});
