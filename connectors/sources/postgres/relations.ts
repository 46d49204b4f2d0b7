import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import { keyOf } from './catalog.ts';
import type { TypeRegistry } from './column-types.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import type { RelationMessage } from './pgoutput.ts';
import type { StreamMark } from './position.ts';
import { RowCodec } from '../../capture/row-codec.ts';
import type { SideSession } from './session.ts';

/** A table as the stream last described it. */
export interface Relation {
  readonly message: RelationMessage;
  /** The message's bytes: the same again need no second look. */
  readonly raw: Buffer;
  /** Null for a table that is none of ours. */
  readonly lane: StreamLane | null;
  codec: RowCodec | null;
}

/** The shape of a table from its columns, by whichever way they came to us; registered and compiled. */
export async function compileShape(
  shape: {
    readonly stream: StreamId;
    readonly key: readonly string[];
    readonly columns: readonly {
      readonly name: string;
      readonly type: number;
      readonly mod: number;
    }[];
  },
  types: TypeRegistry,
  registerSchema: SourceOpenOptions['registerSchema'],
): Promise<RowCodec> {
  const resolved = await types.resolve(shape.columns);
  const schema: StreamSchema = {
    stream: shape.stream,
    key: shape.key,
    columns: shape.columns.map((column, index) => ({
      name: column.name,
      type: (resolved[index] as (typeof resolved)[number]).type,
      inKey: shape.key.includes(column.name),
    })),
  };
  const ids = await registerSchema(schema);
  return new RowCodec(
    schema,
    ids,
    resolved.map((type) => type.encode),
  );
}

/**
 * Compiles what a relation message describes. The wire marks the identity's columns but neither their
 * order nor, under REPLICA IDENTITY FULL, which of them are the key: the catalog tells that.
 */
export async function compileRelation(
  message: RelationMessage,
  mark: StreamMark | undefined,
  sql: SideSession,
  types: TypeRegistry,
  registerSchema: SourceOpenOptions['registerSchema'],
): Promise<RowCodec> {
  const label = `${message.namespace}.${message.name}`;
  if (mark?.oid !== undefined && mark.oid !== message.oid) {
    throw new PipelineError(
      'SRC_STREAM_GONE',
      `table ${label} was replaced by another one of its name`,
      { details: { stream: label } },
    );
  }
  const key = keyOfRelation(message, await keyOf(sql, message.oid), mark?.key);
  refuseOtherKey(label, key, mark?.key);
  const stream = { namespace: message.namespace, name: message.name };
  return compileShape({ stream, key, columns: message.columns }, types, registerSchema);
}

function keyOfRelation(
  message: RelationMessage,
  catalogKey: readonly string[],
  storedKey: readonly string[] | undefined,
): readonly string[] {
  const names = new Set(message.columns.map((column) => column.name));
  if (message.replicaIdentity === 'f') {
    const key = storedKey ?? catalogKey;
    return key.every((name) => names.has(name)) ? key : [];
  }
  const marked = message.columns.filter((column) => column.identity).map((column) => column.name);
  for (const key of [storedKey, catalogKey]) {
    if (key?.length === marked.length && marked.every((name) => key.includes(name))) return key;
  }
  return marked;
}

/** Rows of a stream whose key changes under way would land beside their older selves. */
function refuseOtherKey(
  label: string,
  key: readonly string[],
  stored: readonly string[] | undefined,
): void {
  if (stored === undefined || stored.join('\u0000') === key.join('\u0000')) return;
  const was = stored.length === 0 ? 'no key' : `the key (${stored.join(', ')})`;
  const is = key.length === 0 ? 'none' : `(${key.join(', ')})`;
  throw new PipelineError(
    'SRC_NO_REPLICA_IDENTITY',
    `table ${label} was read with ${was} and now has ${is}`,
    { details: { stream: label } },
  );
}
