import type { WireRequest } from '../wire/broker-connection.ts';
import { ByteReader, ByteWriter } from '../wire/bytes.ts';
import { compress, type Codec } from '../wire/codec.ts';
import {
  BATCH_HEADER_BYTES,
  writeBatch,
  writeRecords,
  type BatchCut,
  type BatchProducer,
} from './record-batch.ts';

const PRODUCE = 0;
const ACKS_ALL = -1;
const PRODUCE_TIMEOUT_MS = 30_000;

/** One batch on its way to a partition. */
export interface OutBatch {
  readonly topic: string;
  readonly partition: number;
  readonly cut: BatchCut;
  readonly producer: BatchProducer;
}

export interface ProduceOptions {
  readonly transactionalId: string | null;
  readonly codec: Codec;
  /** 12 makes the broker add the partition to the transaction by itself; 9 does not. */
  readonly apiVersion: 9 | 12;
}

/** A produce request over `batches`, of different partitions: Kafka takes one batch of each in a
 * request. It is built in `out`, which must not be used again before the answer has come. */
export async function produceRequest(
  out: ByteWriter,
  batches: readonly OutBatch[],
  options: ProduceOptions,
): Promise<WireRequest> {
  const { codec, transactionalId, apiVersion } = options;
  const compressed = await compressBatches(batches, codec);
  const timeMs = Date.now();
  out.pos = 0;
  out.noTags().compactString(transactionalId).int16(ACKS_ALL).int32(PRODUCE_TIMEOUT_MS);
  out.arrayLength(batches.length);
  for (const [index, batch] of batches.entries()) {
    out.compactString(batch.topic).arrayLength(1).int32(batch.partition);
    const bytes = compressed?.[index];
    const size = bytes === undefined ? batch.cut.bytes : BATCH_HEADER_BYTES + bytes.length;
    out.uvarint(size + 1);
    if (bytes === undefined) writeBatch(out, batch.cut, batch.producer, timeMs);
    else writeBatch(out, batch.cut, batch.producer, timeMs, { codec, bytes });
    out.noTags().noTags();
  }
  out.noTags();
  return { apiKey: PRODUCE, apiVersion, body: [out.view()], timeoutMs: PRODUCE_TIMEOUT_MS };
}

/** A batch below this gains little and would wait for a turn on the thread pool: a single row leaves
 * as it is, at once. */
const COMPRESSED_FROM_BYTES = 2 * 1024;

/** By position, the compressed records of the batches that are worth it; null when none is. */
async function compressBatches(
  batches: readonly OutBatch[],
  codec: Codec,
): Promise<readonly (Buffer | undefined)[] | null> {
  if (codec === 'none') return null;
  if (batches.every(({ cut }) => cut.bytes < COMPRESSED_FROM_BYTES)) return null;
  return Promise.all(
    batches.map(({ cut }) =>
      cut.bytes < COMPRESSED_FROM_BYTES ? undefined : compressRecords(cut, codec),
    ),
  );
}

async function compressRecords(cut: BatchCut, codec: Exclude<Codec, 'none'>): Promise<Buffer> {
  const records = new ByteWriter(cut.bytes);
  writeRecords(records, cut);
  return compress(codec, records.view());
}

export interface ProduceResult {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly baseOffset: number;
}

export function readProduceAnswer(answer: Buffer): ProduceResult[] {
  const reader = new ByteReader(answer);
  const results: ProduceResult[] = [];
  reader.tags();
  reader.array(() => {
    const topic = reader.compactString() ?? '';
    reader.array(() => {
      const partition = reader.int32();
      const errorCode = reader.int16();
      results.push({ topic, partition, errorCode, baseOffset: reader.int64() });
      reader.int64();
      reader.int64();
      reader.array(() => {
        reader.int32();
        reader.compactString();
        reader.tags();
      });
      reader.compactString();
      reader.tags();
    });
    reader.tags();
  });
  return results;
}
