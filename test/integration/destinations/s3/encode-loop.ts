import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Encoder } from '../../../../connectors/destinations/s3/encoder.ts';
import { withColumns } from '../../../../connectors/destinations/s3/file-columns.ts';
import { packChunk } from '../../../../connectors/destinations/s3/record-run.ts';
import type { Codec } from '../../../../connectors/destinations/s3/codecs.ts';
import type { Column } from '../../../../schemas/envelope/stream-schema.ts';
import { MemoryTopic, range, type Row } from './memory-topic.ts';

const BATCH = 5_000;
const MB = 1024 * 1024;

export interface EncodeLoop {
  readonly rows: number;
  readonly codec: Codec;
  readonly columns: readonly Column[];
  row(i: number): Row;
}

/** Avro records become one Parquet file, without Kafka and without a store: what decoding and
 * encoding alone allow. One batch of different rows is sent again and again: the topic itself would
 * not fit in memory. */
export async function encodeLoop({ rows, codec, columns, row }: EncodeLoop) {
  const topic = new MemoryTopic();
  topic.register(1, columns);
  await topic.load(1);
  const schema = topic.value(1);
  if (schema === undefined) throw new Error('no schema');
  for (const i of range(0, BATCH)) topic.append(1, { op: 'u', after: row(i) });
  const folder = mkdtempSync(join(tmpdir(), 'headrace-encode-'));
  const { records } = topic.batch(0, BATCH);
  const encoder = new Encoder(4 * MB);
  const rssBefore = process.memoryUsage().rss;
  let rssPeak = rssBefore;
  const started = performance.now();
  const cpu = process.cpuUsage();
  const loop = performance.eventLoopUtilization();
  const spool = encoder.open({
    path: join(folder, 'spool'),
    idHash: '0'.repeat(64),
    layout: {
      columns: withColumns([], columns),
      codec,
      pageBytes: MB,
      rowGroupRows: 20_000,
      rowGroupBytes: 4 * MB,
      partitionBy: 'none',
    },
  });
  for (let sent = 0; sent < rows; sent += BATCH) {
    await encoder.room();
    const chunk = packChunk(records, 0, BATCH);
    if (chunk === null) throw new Error('an empty batch');
    encoder.append(spool, chunk, [schema]);
    rssPeak = Math.max(rssPeak, process.memoryUsage().rss);
  }
  const [file] = await encoder.seal(spool);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  const { utilization } = performance.eventLoopUtilization(loop);
  const fileBytes = statSync(file?.path ?? '').size;
  await encoder.close();
  rmSync(folder, { recursive: true });
  return {
    rows,
    columns: columns.length + 9,
    codec,
    rowsPerSecond: Math.round(rows / seconds),
    cpuMicrosPerRow: Number(((user + system) / rows).toFixed(2)),
    mainThreadBusy: Number(utilization.toFixed(3)),
    fileMB: Number((fileBytes / MB).toFixed(1)),
    avroBytesPerRow: Math.round(records.bytes.length / BATCH),
    rssBeforeMB: Math.round(rssBefore / MB),
    rssPeakMB: Math.round(rssPeak / MB),
  };
}
