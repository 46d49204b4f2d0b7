import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { avroToJson, type AvroToJson } from '../../schemas/avro/avro-json.ts';
import { schemaIdAt, WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import type { TopicAdmin } from '../admin/topic-admin.ts';
import type { FetchedBatch, TopicReader } from '../consume/topic-reader.ts';
import type { SchemaRegistry } from '../registry/schema-registry.ts';

/** Where to begin: an offset holds for every partition; a time is epoch milliseconds. */
export type TailStart =
  'beginning' | 'end' | { readonly offset: number } | { readonly timeMs: number };

export interface TailOptions {
  readonly admin: TopicAdmin;
  /** Of the tail's own; closed by it. */
  readonly reader: TopicReader;
  readonly registry: SchemaRegistry;
  readonly topic: string;
  readonly from: TailStart;
  /** Records to give; no limit when not set. */
  readonly limit?: number;
  /** Goes on waiting at the end of the topic; else ends there. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/** A record as JSON. 64-bit integers that a JSON number cannot hold are text, bytes are base64. */
export interface TailedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: unknown;
  readonly value: unknown;
}

/** A transaction's records are decided some milliseconds after its commit has been answered; an open
 * one may stay undecided for long, and is not waited for longer than this. */
const UNDECIDED_PATIENCE_MS = 3_000;

/** Decodes a topic's records for people to read. Order holds within a partition. */
export async function* tail(options: TailOptions): AsyncGenerator<TailedRecord> {
  const { reader, topic, signal, follow } = options;
  const limit = options.limit ?? Infinity;
  const decoder = new JsonDecoder(options.registry);
  try {
    const left = await assignAll(options);
    const patience = Date.now() + UNDECIDED_PATIENCE_MS;
    for (let given = 0; given < limit && !signal.aborted && (follow || left.size > 0);) {
      const batches = await reader.next();
      const idle = batches.length === 0 && reader.currentTrouble === null;
      if (idle && !follow && Date.now() > patience) return;
      for (const batch of batches) {
        if (batch.error !== undefined) throw batch.error;
        const end = left.get(batch.partition);
        for (let i = 0; i < batch.records.count && given < limit; i++) {
          const offset = batch.records.offsets[i] as number;
          if (!follow && (end === undefined || offset >= end)) break;
          yield { topic, partition: batch.partition, offset, ...(await decoder.record(batch, i)) };
          given++;
        }
        if (end !== undefined && batch.nextOffset >= end) left.delete(batch.partition);
      }
    }
  } finally {
    await reader.close();
  }
}

/** Assigns every partition; answers the ends, as they are now, of those that have something left. */
async function assignAll(options: TailOptions): Promise<Map<number, number>> {
  const { admin, reader, topic, from } = options;
  const bounds = await admin.bounds(topic);
  const byTime =
    typeof from === 'object' && 'timeMs' in from
      ? await admin.offsetsForTime(topic, from.timeMs)
      : null;
  const left = new Map<number, number>();
  for (const { partition, low, high } of bounds) {
    let offset = low;
    if (from === 'end') offset = high;
    else if (byTime !== null) offset = byTime.get(partition) ?? high;
    else if (typeof from === 'object' && 'offset' in from) offset = from.offset;
    offset = Math.min(Math.max(offset, low), high);
    await reader.assign({ topic, partition, offset });
    if (offset < high) left.set(partition, high);
  }
  return left;
}

class JsonDecoder {
  private readonly registry: SchemaRegistry;
  private readonly schemas = new Map<number, AvroToJson>();

  constructor(registry: SchemaRegistry) {
    this.registry = registry;
  }

  async record(batch: FetchedBatch, i: number): Promise<{ key: unknown; value: unknown }> {
    const { bytes, offsets, keyStarts, keyEnds, valueStarts, valueEnds } = batch.records;
    try {
      return {
        key: await this.decode(bytes, keyStarts[i] as number, keyEnds[i] as number),
        value: await this.decode(bytes, valueStarts[i] as number, valueEnds[i] as number),
      };
    } catch (error) {
      if (error instanceof PipelineError && error.code !== 'EVT_UNDECODABLE') throw error;
      const where = {
        topic: batch.topic,
        partition: batch.partition,
        offset: offsets[i] as number,
      };
      throw new PipelineError(
        'EVT_UNDECODABLE',
        `${where.topic}/${where.partition} at ${where.offset}: the record does not fit its schema`,
        { details: where, cause: error },
      );
    }
  }

  /** Text that is not in Avro (the internal topics) is given as it is, or as the JSON it holds. */
  private async decode(bytes: Buffer, start: number, end: number): Promise<unknown> {
    if (start < 0) return null;
    const id = schemaIdAt(bytes, start, end);
    if (id < 0) return textOrJson(bytes.toString('utf8', start, end));
    let toJson = this.schemas.get(id);
    if (toJson === undefined) {
      toJson = avroToJson(await this.registry.schemaOf(id));
      this.schemas.set(id, toJson);
    }
    return toJson(bytes.subarray(start + WIRE_HEADER_BYTES, end));
  }
}

function textOrJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
