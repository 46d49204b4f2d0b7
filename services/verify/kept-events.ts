import type { AppendedCopy, AppendedRow, AppendedView } from '../../connectors/spi/comparison.ts';
import { eventIdentity } from '../../connectors/spi/comparison.ts';
import {
  ChangeCursor,
  OP_DELETE,
  OP_TRUNCATE,
  type ChangeSchema,
} from '../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import type { FetchedBatch } from '../../topics/consume/topic-reader.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';

/** Older events may have been compacted away, or are about to be: the topic keeps them for seven days. */
const COMPARED_MS = 6 * 24 * 3_600_000;

/** The events of which a copy is to have a row each. */
export interface KeptRows {
  events(): AsyncIterable<readonly AppendedRow[]>;
  /** Whether a row of the copy is among those that are compared. */
  isCompared(row: AppendedRow): boolean;
}

type Choice = Pick<AppendedCopy, 'keeps' | 'identityOf'>;

/** From what the topic holds below the offsets up to which the copy is durable. */
export async function keptRows(
  kafka: KafkaClient,
  topic: string,
  view: AppendedView,
  copy: Choice,
): Promise<KeptRows> {
  const { ends } = view;
  if (copy.keeps === 'every') {
    const range = { starts: await youngStarts(kafka, topic, view), ends };
    const among = ({ partition, offset }: AppendedRow): boolean =>
      partition < 0 ||
      (offset >= (range.starts.get(partition) ?? 0) && offset < (ends.get(partition) ?? 0));
    return { events: () => rowsOf(kafka, topic, range, copy, () => true), isCompared: among };
  }
  const bounds = await kafka.admin.bounds(topic);
  const range = { starts: new Map(bounds.map(({ partition, low }) => [partition, low])), ends };
  const kept =
    copy.keeps === 'newest'
      ? await newestOffsets(kafka, topic, range)
      : await generationOffsets(kafka, topic, range);
  return {
    events: () => rowsOf(kafka, topic, range, copy, kept),
    // A row that is marked as deleted shows none.
    isCompared: ({ identity }) => !identity.endsWith('/d'),
  };
}

interface Range {
  readonly starts: ReadonlyMap<number, number>;
  readonly ends: ReadonlyMap<number, number>;
}

type IsKept = (partition: number, offset: number) => boolean;

/** Where each partition's events of the last days begin that the copy is to have. */
async function youngStarts(
  kafka: KafkaClient,
  topic: string,
  view: AppendedView,
): Promise<Map<number, number>> {
  const young = await kafka.admin.offsetsForTime(topic, Date.now() - COMPARED_MS);
  const starts = new Map<number, number>();
  for (const { partition, low } of await kafka.admin.bounds(topic)) {
    const first = young.get(partition) ?? view.ends.get(partition) ?? 0;
    starts.set(partition, Math.max(low, first, view.starts?.get(partition) ?? 0));
  }
  return starts;
}

/** Offsets of the newest event of each key, but for deletes and for what a truncate has emptied. */
async function newestOffsets(kafka: KafkaClient, topic: string, range: Range): Promise<IsKept> {
  const byKey = new Map<number, Map<string, number>>();
  for await (const { partition, offset, bytes, key, change } of eventsOf(kafka, topic, range)) {
    let known = byKey.get(partition);
    if (known === undefined) byKey.set(partition, (known = new Map()));
    // Another version of the key's schema is another header before the same key.
    const name = bytes.toString('latin1', key.start + WIRE_HEADER_BYTES, key.end);
    if (change.op === OP_TRUNCATE) known.clear();
    else if (change.op === OP_DELETE) known.delete(name);
    else if (change.isRow) known.set(name, offset);
  }
  const offsets = new Map(
    [...byKey].map(([partition, known]) => [partition, new Set(known.values())]),
  );
  return (partition, offset) => offsets.get(partition)?.has(offset) === true;
}

/** Offsets between the two marks of the last generation that has both. */
async function generationOffsets(kafka: KafkaClient, topic: string, range: Range): Promise<IsKept> {
  const begun = new Map<number, number>();
  const whole = new Map<number, readonly [from: number, to: number]>();
  for await (const { partition, offset, change } of eventsOf(kafka, topic, range)) {
    if (!change.snapshot || change.isRow) continue;
    const from = begun.get(partition);
    if (change.op === OP_TRUNCATE) begun.set(partition, offset);
    else if (change.last && from !== undefined) {
      whole.set(partition, [from, offset]);
      begun.delete(partition);
    }
  }
  return (partition, offset) => {
    const [from, to] = whole.get(partition) ?? [0, 0];
    return offset > from && offset < to;
  };
}

async function* rowsOf(
  kafka: KafkaClient,
  topic: string,
  range: Range,
  { identityOf }: Choice,
  isKept: IsKept,
): AsyncGenerator<AppendedRow[]> {
  for await (const { partition, offset, bytes, schema, change } of eventsOf(kafka, topic, range)) {
    if (!change.isRow || !isKept(partition, offset)) continue;
    const { epoch, lsn, seq, op } = change;
    const identity =
      identityOf?.(schema, bytes, change) ?? eventIdentity(epoch, lsn, seq, op === OP_DELETE);
    yield [{ partition, offset, identity }];
  }
}

interface TopicEvent {
  readonly partition: number;
  readonly offset: number;
  readonly bytes: Buffer;
  readonly key: { readonly start: number; readonly end: number };
  readonly schema: ChangeSchema;
  /** Stands on the event until the next one is asked for. */
  readonly change: ChangeCursor;
}

async function* eventsOf(
  kafka: KafkaClient,
  topic: string,
  { starts, ends }: Range,
): AsyncGenerator<TopicEvent> {
  const left = new Set<number>();
  const reader = kafka.topicReader();
  try {
    for (const [partition, offset] of starts) {
      if (offset >= (ends.get(partition) ?? 0)) continue;
      left.add(partition);
      await reader.assign({ topic, partition, offset });
    }
    while (left.size > 0) {
      for (const batch of await reader.next()) {
        if (batch.error !== undefined) throw batch.error;
        const end = ends.get(batch.partition) ?? 0;
        for await (const event of decoded(kafka, batch)) if (event.offset < end) yield event;
        if (batch.nextOffset >= end) left.delete(batch.partition);
      }
    }
  } finally {
    await reader.close();
  }
}

async function* decoded(
  { schemas }: KafkaClient,
  { partition, records }: FetchedBatch,
): AsyncGenerator<TopicEvent> {
  const { bytes, count, offsets, keyStarts, keyEnds, valueStarts, valueEnds } = records;
  const change = new ChangeCursor();
  for (let i = 0; i < count; i++) {
    const [start, end] = [valueStarts[i] as number, valueEnds[i] as number];
    if (start === -1) continue;
    const id = schemaIdAt(bytes, start, end);
    if (schemas.value(id) === undefined) await schemas.load(id);
    const schema = schemas.value(id);
    if (schema === undefined) continue;
    change.decode(schema, bytes, start, end);
    const key = { start: keyStarts[i] as number, end: keyEnds[i] as number };
    yield { partition, offset: offsets[i] as number, bytes, key, schema, change };
  }
}
