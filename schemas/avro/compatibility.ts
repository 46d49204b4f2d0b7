import avro from 'avsc';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import {
  columnsOfRow,
  rowOfEnvelope,
  type AvroField,
  type AvroRecord,
  type AvroSchema,
} from '../envelope/avro-schema.ts';
import { KIND_IN_AVRO } from '../values/column-type.ts';

/**
 * Whether a new schema can read what the one before has written: Avro's BACKWARD rule, and beyond it
 * that a number does not change its meaning (microseconds do not become a count). Checked before any
 * record is sent; the error names the columns and what changed.
 */
export function checkCompatible(subject: string, older: AvroRecord, newer: AvroRecord): void {
  const changes = changesOf(rowOf(older), rowOf(newer));
  const whole = changes.length === 0 ? unreadable(older, newer) : null;
  if (changes.length === 0 && whole === null) return;
  const what = changes.length > 0 ? changes.join('; ') : whole;
  throw new PipelineError('SCH_INCOMPATIBLE', `${subject}: ${what}`, { details: { subject } });
}

/** The record whose fields are the columns: the row in an envelope, or a key as it is. */
function rowOf(schema: AvroRecord): AvroRecord {
  const envelope = schema.fields.some(({ name }) => name === 'before');
  return envelope ? rowOfEnvelope(schema) : schema;
}

function changesOf(older: AvroRecord, newer: AvroRecord): string[] {
  const before = new Map(older.fields.map((field) => [field.name, field]));
  const kindBefore = kindsOf(older);
  const kindNow = kindsOf(newer);
  return newer.fields.flatMap((field): string[] => {
    const old = before.get(field.name);
    if (old === undefined) {
      if (field.default !== undefined) return [];
      return [`column ${field.name} is new and must not be null, so older rows cannot be read`];
    }
    const was = kindBefore.get(field.name);
    const is = kindNow.get(field.name);
    if (unreadable(old.type, field.type) === null && sameMeaning(was, is)) return [];
    return [`column ${field.name} changed from ${describe(old)} to ${describe(field)}`];
  });
}

interface Meaning {
  readonly kind: string;
  readonly number: boolean;
  readonly named: boolean;
}

function kindsOf(row: AvroRecord): Map<string, Meaning> {
  const columns = columnsOfRow(row);
  return new Map(
    row.fields.map((field, index) => {
      const kind = columns[index]?.type.kind ?? 'string';
      const { primitive, connectName } = KIND_IN_AVRO[kind];
      const number = primitive === 'int' || primitive === 'long';
      return [field.name, { kind, number, named: connectName !== undefined }];
    }),
  );
}

function sameMeaning(was: Meaning | undefined, is: Meaning | undefined): boolean {
  if (was === undefined || is === undefined || was.kind === is.kind) return true;
  return !(was.number && is.number && (was.named || is.named));
}

function describe(field: AvroField): string {
  const nullable = Array.isArray(field.type);
  const type = (nullable ? (field.type as AvroSchema[])[1] : field.type) as AvroSchema;
  const object = typeof type === 'string' ? { type } : (type as Record<string, unknown>);
  const parameters = (object['connect.parameters'] ?? {}) as Record<string, string>;
  const native = parameters['__debezium.source.column.type'];
  return `${native ?? String(object['connect.name'] ?? object['type'])}${nullable ? '' : ' in the key'}`;
}

/** Why `newer` cannot read what `older` wrote, in avsc's words; null when it can. */
function unreadable(older: AvroSchema, newer: AvroSchema): string | null {
  try {
    typeOf(newer).createResolver(typeOf(older));
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function typeOf(schema: AvroSchema): avro.Type {
  return avro.Type.forSchema(schema as avro.Schema);
}
