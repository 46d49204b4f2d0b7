import { subjectsOf, type AvroRecord } from '../../schemas/envelope/avro-schema.ts';
import { ChangeSchema, KeySchema } from '../../schemas/envelope/change-decoder.ts';
import type { SchemaRegistry } from './schema-registry.ts';

/** Schemas made ready for decoding, by the id in a record's header; what destinations look them up
 * in. An id never changes its meaning, so nothing is ever dropped. */
export class SchemaCache {
  private readonly registry: SchemaRegistry;
  private readonly values = new Map<number, ChangeSchema>();
  private readonly keys = new Map<number, KeySchema>();

  constructor(registry: SchemaRegistry) {
    this.registry = registry;
  }

  value(id: number): ChangeSchema | undefined {
    return this.values.get(id);
  }

  key(id: number): KeySchema | undefined {
    return this.keys.get(id);
  }

  /** Fetches a schema, after which `value` or `key` has it. Rejects with SCH_UNKNOWN_ID. */
  async load(id: number): Promise<void> {
    if (this.values.has(id) || this.keys.has(id)) return;
    this.add(id, await this.registry.schemaOf(id));
  }

  /** The newest value schema of a topic now, with its key's; null when none was registered yet. */
  async latest(topic: string): Promise<{ value: ChangeSchema; key: KeySchema | null } | null> {
    const subjects = subjectsOf(topic);
    const value = await this.registry.latest(subjects.value);
    if (value === null) return null;
    const key = await this.registry.latest(subjects.key);
    this.add(value.id, value.schema);
    if (key !== null) this.add(key.id, key.schema);
    return {
      value: this.values.get(value.id) as ChangeSchema,
      key: key === null ? null : (this.keys.get(key.id) ?? null),
    };
  }

  private add(id: number, text: string): void {
    if (this.values.has(id) || this.keys.has(id)) return;
    const schema = JSON.parse(text) as AvroRecord;
    const envelope = schema.fields.some(({ name }) => name === 'before');
    if (envelope) this.values.set(id, new ChangeSchema(id, schema));
    else this.keys.set(id, new KeySchema(id, schema));
  }
}
