import { describe, expect, it } from 'vitest';
import type { SchemaPolicy } from '../../../../core/store/schema-policy.ts';
import { jsonSchemaOf } from '../../../../schemas/catalog/json-schema.ts';
import type { StreamSchema } from '../../../../schemas/envelope/stream-schema.ts';
import { CatalogSchemas, SchemaGate } from '../../../../services/sink/schema-gate.ts';
import { writeWireHeader, type RecordView } from '../../../../schemas/envelope/record-view.ts';
import { TestSchemas } from '../../../integration/destinations/postgres/event-log.ts';

const TOPIC = 'cdc.shop.public.t';

function shape(...columns: string[]): StreamSchema {
  return {
    stream: { namespace: 'public', name: 't' },
    columns: ['id', ...columns].map((name) => ({
      name,
      type: { kind: name === 'n' ? 'int32' : 'string' },
      inKey: name === 'id',
    })),
    key: ['id'],
  };
}

function records(...ids: (number | null)[]): RecordView {
  const bytes = Buffer.alloc(ids.length * 5);
  const starts = ids.map((id, i) => (id === null ? -1 : i * 5));
  ids.forEach((id, i) => id !== null && writeWireHeader(bytes, i * 5, id));
  return {
    count: ids.length,
    bytes,
    offsets: Float64Array.from(ids, (_, i) => i),
    keyStarts: new Int32Array(ids.length).fill(-1),
    keyEnds: new Int32Array(ids.length),
    valueStarts: Int32Array.from(starts),
    valueEnds: Int32Array.from(starts, (start) => start + 5),
  };
}

function gateFor(policy: SchemaPolicy, catalog: StreamSchema | null) {
  const schemas = new TestSchemas();
  const properties =
    catalog === null ? null : (jsonSchemaOf(catalog)['properties'] as Record<string, object>);
  const stream = {
    namespace: 'public',
    name: 't',
    primaryKey: ['id'],
    properties: properties as Readonly<Record<string, Record<string, unknown>>> | null,
    schemaPolicy: policy,
  };
  const seen = new CatalogSchemas(schemas, [{ stream, topic: TOPIC }]);
  return { schemas, seen, gate: new SchemaGate(stream, TOPIC, schemas) };
}

describe('a stream whose schema changes', () => {
  it('is held at the first record with the change, tombstones before it go on', async () => {
    const { schemas, gate } = gateFor('disable', shape('a'));
    const old = schemas.register(TOPIC, shape('a')).value;
    const next = schemas.register(TOPIC, shape('a', 'b')).value;
    expect(await gate.admits(records(old, null, old, next, old))).toBe(3);
    expect(await gate.admits(records(next))).toBe(0);
    expect(gate.refusal()).toMatchObject({
      code: 'SCH_CHANGE_HELD',
      message: 'stream public.t: column "b" was added (string).',
    });
  });

  it('asks for the newest schema only where its own differs from the catalog', async () => {
    const { schemas, gate } = gateFor('disable', shape('a'));
    let asked = 0;
    const latest = schemas.latest.bind(schemas);
    schemas.latest = (topic) => {
      asked++;
      return latest(topic);
    };
    const same = schemas.register(TOPIC, shape('a')).value;
    expect(await gate.admits(records(same, same))).toBe(2);
    expect(asked).toBe(0);
    const other = schemas.register(TOPIC, shape('a', 'b')).value;
    expect(await gate.admits(records(other))).toBe(0);
    expect(asked).toBe(1);
  });

  it.each(['ignore', 'propagate_columns', 'propagate_fully'] as const)(
    'goes on with %s, and says what changed',
    async (policy) => {
      const { schemas, gate } = gateFor(policy, shape('a'));
      const next = schemas.register(TOPIC, shape('b')).value;
      expect(await gate.admits(records(next, next))).toBe(2);
      expect(gate.changes.map(({ transformType }) => transformType)).toEqual([
        'add_field',
        'remove_field',
      ]);
    },
  );

  it('takes records from before the catalog was made for no change', async () => {
    const { schemas, gate } = gateFor('disable', shape('a', 'b'));
    const before = schemas.register(TOPIC, shape('a')).value;
    const long = schemas.register(TOPIC, shape('a', 'gone')).value;
    const now = schemas.register(TOPIC, shape('a', 'b')).value;
    expect(await gate.admits(records(before, long, now))).toBe(3);
    expect(gate.changes).toEqual([]);
  });

  it('is not compared with a catalog that has no columns', async () => {
    const { schemas, gate } = gateFor('disable', null);
    const id = schemas.register(TOPIC, shape('a')).value;
    expect(await gate.admits(records(id))).toBe(1);
  });

  it('shows a destination only what the catalog has, and the key always', async () => {
    for (const policy of ['ignore', 'disable'] as const) {
      const { schemas, seen } = gateFor(policy, shape('a'));
      const { value } = schemas.register(TOPIC, shape('n', 'a'));
      await seen.load(value);
      expect(seen.value(value)?.columns.map(({ name }) => name)).toEqual(['id', 'a']);
      const latest = await seen.latest(TOPIC);
      expect(latest?.value.columns.map(({ name }) => name)).toEqual(['id', 'a']);
    }
    const { schemas, seen } = gateFor('propagate_columns', shape('a'));
    const { value } = schemas.register(TOPIC, shape('n', 'a'));
    await seen.load(value);
    expect(seen.value(value)?.columns.map(({ name }) => name)).toEqual(['id', 'n', 'a']);
  });
});
