import { createHash } from 'node:crypto';
import type { StreamId } from '../schemas/catalog/stream-id.ts';

/**
 * Names of everything we own in Kafka, made in this file only. Each part of a stream's topic is
 * escaped so that the dots between the parts are the only dots: two different streams never get one
 * topic. (Kafka itself refuses a topic whose name differs from another's by `.` against `_` alone;
 * creating it then fails with KAFKA_REFUSED.)
 */

/** Kafka's limit, which its file names set. */
const MAX_TOPIC_BYTES = 249;
/** Stands before the hash of a name that was too long. No escaped part holds `_x` without two
 * hexadecimal digits behind it, so that a cut name is never another stream's full one. */
const CUT_MARK = '_xcut';
const HASH_CHARACTERS = 24;

/** `<prefix>.<source>.<namespace>.<stream>`; the prefix is the operator's and stays as it is. */
export function streamTopic(prefix: string, source: string, stream: StreamId): string {
  const parts = [source, stream.namespace, stream.name].map(escapePart);
  const topic = [prefix, ...parts].join('.');
  if (topic.length <= MAX_TOPIC_BYTES) return topic;
  const hash = createHash('sha256').update(topic).digest('hex').slice(0, HASH_CHARACTERS);
  const kept = MAX_TOPIC_BYTES - CUT_MARK.length - HASH_CHARACTERS;
  return topic.slice(0, kept) + CUT_MARK + hash;
}

/** Letters, digits, `-` and `_` stay; every other byte of the UTF-8 text becomes `_xHH`, and so does
 * a `_` before an `x`, which would look like the beginning of an escape. */
function escapePart(part: string): string {
  return part
    .replace(/_(?=x)/g, '\u0000')
    .replace(/[^A-Za-z0-9_-]/gu, (character) => (character === '\u0000' ? '_x5f' : hex(character)));
}

function hex(character: string): string {
  const bytes = [...Buffer.from(character)];
  return bytes.map((byte) => `_x${byte.toString(16).padStart(2, '0')}`).join('');
}

/** Compacted; the newest position of every source, written in the transaction of its events. */
export function positionsTopic(prefix: string): string {
  return `${prefix}._positions`;
}

/** One partition that is never cleaned; a schema's id is its record's offset plus one. */
export function schemasTopic(prefix: string): string {
  return `${prefix}._schemas`;
}

export function sourceTransactionalId(prefix: string, sourceId: string): string {
  return `${prefix}.source.${sourceId}`;
}

/** Subject of the empty record that is the key of a topic's TRUNCATE events. */
export function truncateSubject(topic: string): string {
  return `${topic}-truncate`;
}
