import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { InitialValue, StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import { KIND_IN_AVRO } from '../../../schemas/values/column-type.ts';
import { streamGone } from './catalog.ts';
import type { EncodedType, TypeRegistry } from './column-types.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import type { RelationMessage } from './pgoutput.ts';
import type { StreamMark } from './position.ts';
import { RowCodec } from '../../capture/row-codec.ts';
import { refuseOtherKey } from '../../capture/stream-key.ts';
import type { SideSession } from './session.ts';
import { followShape, looksLike, type KnownShape } from './shape-change.ts';
import { readShapes } from './table-shape.ts';

/** A table as the stream last described it. */
export interface Relation {
  readonly message: RelationMessage;
  /** Null for a table that is none of ours. */
  readonly lane: StreamLane | null;
  codec: RowCodec | null;
}

/** What a relation message was found to be. */
export interface FollowedRelation {
  readonly codec: RowCodec;
  /** The mark with what is known of the table now; undefined when the stream has none. */
  readonly mark: StreamMark | undefined;
}

/** The shape of a table from its columns, by whichever way they came to us; registered and compiled.
 * `initials` are the values of older rows in columns that were added, as the server prints them. */
export async function compileShape(
  shape: {
    readonly stream: StreamId;
    readonly key: readonly string[];
    readonly columns: readonly { readonly name: string }[];
    readonly resolved: readonly EncodedType[];
    readonly initials: ReadonlyMap<string, string>;
  },
  registerSchema: SourceOpenOptions['registerSchema'],
): Promise<RowCodec> {
  const { stream, key, resolved, initials } = shape;
  const schema: StreamSchema = {
    stream,
    key,
    columns: shape.columns.map(({ name }, index) => {
      const encoded = resolved[index] as EncodedType;
      const initial = initials.get(name);
      return {
        name,
        type: encoded.type,
        inKey: key.includes(name),
        ...(initial === undefined ? {} : { initial: initialValue(initial, encoded) }),
      };
    }),
  };
  const ids = await registerSchema(schema);
  return new RowCodec(
    schema,
    ids,
    resolved.map((type) => type.encode),
  );
}

function initialValue(printed: string, { type, encode }: EncodedType): InitialValue {
  const bytes = Buffer.from(printed);
  const out = new AvroWriter(2 * bytes.length + 64);
  encode(out, bytes, 0, bytes.length);
  const cell = out.bytes.subarray(0, out.pos);
  const isText = KIND_IN_AVRO[type.kind].primitive === 'string';
  const text = isText ? textOfAvro(cell) : printed;
  return { text, avro: cell.toString('base64') };
}

/** An Avro string without its length. */
function textOfAvro(cell: Buffer): string {
  let start = 0;
  while (((cell[start++] as number) & 0x80) !== 0);
  return cell.toString('utf8', start);
}

export function initialsOf(shape: KnownShape | undefined): ReadonlyMap<string, string> {
  const columns = shape?.columns ?? [];
  return new Map(
    columns.flatMap(({ name, initial }) =>
      initial === undefined ? [] : [[name, initial] as const],
    ),
  );
}

/**
 * Compiles what a relation message describes, after comparing it with what is known of the table. The
 * wire marks the identity's columns but neither their order nor, under REPLICA IDENTITY FULL, which
 * of them are the key, nor which column a name belongs to: the catalog tells that; it
 * must show the transaction that the message came in.
 */
export async function followRelation(
  message: RelationMessage,
  mark: StreamMark | undefined,
  sql: SideSession,
  types: TypeRegistry,
  registerSchema: SourceOpenOptions['registerSchema'],
): Promise<FollowedRelation> {
  const label = `${message.namespace}.${message.name}`;
  if (mark?.oid !== undefined && mark.oid !== message.oid) {
    throw new PipelineError(
      'SRC_STREAM_GONE',
      `table ${label} was replaced by another one of its name`,
      { details: { stream: label } },
    );
  }
  const shape = (await readShapes(sql, [message.oid])).get(message.oid);
  const resolved = await types.resolve(message.columns);
  const known = mark?.shape;
  const wire = message.columns.map(({ name, type, mod }, index) => {
    return { name, type, mod, native: nativeOf(resolved[index]) };
  });
  // Dropped since: its last changes are still those of the table we know, if they look so.
  if (shape === undefined && !(known !== undefined && looksLike(known, wire))) {
    throw streamGone(label);
  }
  const next =
    known === undefined || shape === undefined
      ? known
      : await followShape(sql, known, shape, wire, mark?.key ?? []);
  const key = keyOfRelation(message, shape?.key ?? mark?.key ?? [], mark?.key);
  refuseOtherKey(label, key, mark?.key);
  const codec = await compileShape(
    {
      stream: { namespace: message.namespace, name: message.name },
      key,
      columns: message.columns,
      resolved,
      initials: initialsOf(next),
    },
    registerSchema,
  );
  return {
    codec,
    mark: mark === undefined || next === undefined ? mark : { ...mark, shape: next },
  };
}

export function nativeOf(type: EncodedType | undefined): string {
  return type?.type.native ?? '';
}

function keyOfRelation(
  message: RelationMessage,
  catalogKey: readonly string[],
  storedKey: readonly string[] | undefined,
): readonly string[] {
  if (message.replicaIdentity === 'f') return keyOfWholeRows(catalogKey, storedKey);
  const marked = message.columns.filter((column) => column.identity).map((column) => column.name);
  for (const key of [storedKey, catalogKey]) {
    if (key?.length === marked.length && marked.every((name) => key.includes(name))) return key;
  }
  return marked;
}

/** Whole rows tell no key. One that the table lost since would fold different rows into one. */
function keyOfWholeRows(
  catalogKey: readonly string[],
  storedKey: readonly string[] | undefined,
): readonly string[] {
  if (storedKey === undefined || storedKey.length === 0) return storedKey ?? catalogKey;
  return isSameKey(storedKey, catalogKey) ? storedKey : catalogKey;
}

/** The same columns, in whichever order. */
export function isSameKey(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}
