import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import {
  describeTransform,
  fieldTransforms,
  type FieldTransform,
} from '../../core/store/field-transforms.ts';
import { isHeldToCatalog } from '../../core/store/schema-policy.ts';
import type { ConnectionStreamWork } from '../../core/store/work.ts';
import type { SchemaLookup } from '../../connectors/spi/destination.ts';
import { jsonSchemaOf } from '../../schemas/catalog/json-schema.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import { avroNamespace } from '../../schemas/envelope/avro-schema.ts';
import type { ChangeSchema } from '../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, type RecordView } from '../../schemas/envelope/record-view.ts';

export type GatedStream = Pick<
  ConnectionStreamWork,
  'namespace' | 'name' | 'primaryKey' | 'properties' | 'schemaPolicy'
>;

/**
 * Compares the schemas that a stream's records come with with the connection's catalog. A schema
 * counts as changed by what the newest one of the topic has of its difference: records from before
 * the catalog was made have older schemas, and those are no change.
 */
export class SchemaGate {
  /** How the source differs from the catalog, as far as its records were met; empty: not at all. */
  changes: readonly FieldTransform[] = [];
  private readonly stream: GatedStream;
  private readonly topic: string;
  private readonly schemas: SchemaLookup;
  /** By schema id, whether its records are held back. */
  private readonly judged = new Map<number, boolean>();

  constructor(stream: GatedStream, topic: string, schemas: SchemaLookup) {
    this.stream = stream;
    this.topic = topic;
    this.schemas = schemas;
  }

  /** How many of the records, from the first on, may be delivered. */
  async admits(records: RecordView): Promise<number> {
    if (this.stream.properties === null) return records.count;
    const { bytes, valueStarts, valueEnds } = records;
    let last = -1;
    for (let i = 0; i < records.count; i++) {
      const start = valueStarts[i] as number;
      if (start === -1) continue;
      const id = schemaIdAt(bytes, start, valueEnds[i] as number);
      if (id === last) continue;
      if (this.judged.get(id) ?? (await this.judge(id))) return i;
      last = id;
    }
    return records.count;
  }

  /** Why records are held back. */
  refusal(): PipelineError {
    const label = streamLabel(this.stream);
    const changes = this.changes.map(describeTransform).join('; ');
    return new PipelineError('SCH_CHANGE_HELD', `stream ${label}: ${changes}.`, {
      details: { stream: label },
    });
  }

  private async judge(id: number): Promise<boolean> {
    if (!(await this.isKnown(id))) return false;
    const own = this.schemas.value(id);
    const differs = own !== undefined && (await this.differs(own));
    const isHeld = differs && this.stream.schemaPolicy === 'disable';
    this.judged.set(id, isHeld);
    return isHeld;
  }

  /** The newest schema is asked for only where it matters: asking takes Kafka some milliseconds, for
   * each of hundreds of streams that begin together. */
  private async differs(own: ChangeSchema): Promise<boolean> {
    const differences = this.differences(own);
    if (differences.length === 0) return false;
    const latest = await this.schemas.latest(this.topic);
    return latest !== null && this.note(latest.value, differences);
  }

  /** A record without a schema is for the destination to refuse, for its stream alone. */
  private async isKnown(id: number): Promise<boolean> {
    if (id === -1) return false;
    try {
      await this.schemas.load(id);
      return true;
    } catch (error) {
      if (toPipelineError(error).code === 'SCH_UNKNOWN_ID') return false;
      throw error;
    }
  }

  private note(latest: ChangeSchema, own: readonly FieldTransform[]): boolean {
    const known = new Set(own.map((each) => JSON.stringify(each)));
    const changes = this.differences(latest);
    if (!changes.some((each) => known.has(JSON.stringify(each)))) return false;
    this.changes = changes;
    return true;
  }

  private differences(schema: ChangeSchema): FieldTransform[] {
    const { properties } = jsonSchemaOf(schema) as { properties: GatedStream['properties'] };
    const { primaryKey } = this.stream;
    return fieldTransforms(this.stream.properties ?? {}, properties ?? {}, primaryKey);
  }
}

/** Schemas as a destination is to see them: without the columns that a connection which is held to its
 * catalog does not have there. The key is always part of it. */
export class CatalogSchemas implements SchemaLookup {
  private readonly schemas: SchemaLookup;
  private readonly columns = new Map<string, ReadonlySet<string>>();
  private readonly seen = new Map<number, ChangeSchema>();

  constructor(
    schemas: SchemaLookup,
    streams: readonly { readonly stream: GatedStream; readonly topic: string }[],
  ) {
    this.schemas = schemas;
    for (const { stream, topic } of streams) {
      const { properties, schemaPolicy, primaryKey } = stream;
      if (properties === null || !isHeldToCatalog(schemaPolicy)) continue;
      const names = new Set([...Object.keys(properties), ...primaryKey]);
      this.columns.set(avroNamespace(topic), names);
    }
  }

  value(id: number): ChangeSchema | undefined {
    const schema = this.schemas.value(id);
    if (schema === undefined || this.columns.size === 0) return schema;
    return this.reduced(schema);
  }

  key: SchemaLookup['key'] = (id) => this.schemas.key(id);

  load: SchemaLookup['load'] = (id) => this.schemas.load(id);

  latest: SchemaLookup['latest'] = async (topic) => {
    const latest = await this.schemas.latest(topic);
    return latest === null ? null : { ...latest, value: this.reduced(latest.value) };
  };

  private reduced(schema: ChangeSchema): ChangeSchema {
    const known = this.seen.get(schema.id);
    if (known !== undefined) return known;
    const names = this.columns.get(schema.namespace);
    const reduced =
      names === undefined
        ? schema
        : schema.only((column) => column.inKey || names.has(column.name));
    this.seen.set(schema.id, reduced);
    return reduced;
  }
}
