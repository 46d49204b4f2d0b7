import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Encoder } from '../../../../connectors/destinations/s3/encoder.ts';
import { withColumns } from '../../../../connectors/destinations/s3/file-columns.ts';
import { packChunk } from '../../../../connectors/destinations/s3/record-run.ts';
import type { Codec } from '../../../../connectors/destinations/s3/codecs.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';

/**
 * How fast Avro records become a Parquet file, without a store:
 * `node test/integration/destinations/s3/encode-speed.ts [rows] [codec]`. Prints one JSON object.
 */

const rows = Number(process.argv[2] ?? 1_000_000);
const codec = (process.argv[3] ?? 'SNAPPY') as Codec;
const BATCH = 5_000;

const topic = new MemoryTopic();
const columns = [
  column('id', 'int64', {}, true),
  column('customer_id', 'int64'),
  column('status', 'string'),
  column('amount', 'decimal', { precision: 12, scale: 2 }),
  column('email', 'string'),
  column('created_at', 'timestamptz'),
  column('updated_at', 'timestamp'),
  column('score', 'float64'),
  column('active', 'boolean'),
  column('note', 'string'),
];
topic.register(1, columns);
await topic.load(1);
const schema = topic.value(1);
if (schema === undefined) throw new Error('no schema');
// One batch of different rows, sent again and again: the topic itself would not fit in memory.
for (const i of range(0, BATCH)) {
  topic.append(1, {
    op: 'u',
    after: {
      id: BigInt(i * 7919),
      customer_id: BigInt(i % 997),
      status: ['new', 'paid', 'shipped', 'done'][i % 4],
      amount: `${i % 10_000}.${String(i % 100).padStart(2, '0')}`,
      email: `user${i * 31}@example.com`,
      created_at: `2024-03-${String((i % 28) + 1).padStart(2, '0')}T02:30:00.${String(i).padStart(6, '0')}Z`,
      updated_at: 1_700_000_000_000_000n + BigInt(i) * 1_000_003n,
      score: i / 7,
      active: i % 3 === 0,
      note: i % 5 === 0 ? null : `note number ${i * 17} with some words behind`,
    },
  });
}

const folder = mkdtempSync(join(tmpdir(), 'headrace-encode-'));
const { records } = topic.batch(0, BATCH);
const encoder = new Encoder(4 * 1024 * 1024);
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
    pageBytes: 1024 * 1024,
    rowGroupRows: 20_000,
    rowGroupBytes: 4 * 1024 * 1024,
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
const MB = 1024 * 1024;
console.log(
  JSON.stringify({
    rows,
    columns: columns.length + 9,
    codec,
    rowsPerSecond: Math.round(rows / seconds),
    cpuMicrosPerRow: Number(((user + system) / rows).toFixed(2)),
    mainThreadBusy: Number(performance.eventLoopUtilization(loop).utilization.toFixed(3)),
    fileMB: Number((statSync(file?.path ?? '').size / MB).toFixed(1)),
    avroBytesPerRow: Math.round(records.bytes.length / BATCH),
    rssBeforeMB: Math.round(rssBefore / MB),
    rssPeakMB: Math.round(rssPeak / MB),
  }),
);
await encoder.close();
rmSync(folder, { recursive: true });
