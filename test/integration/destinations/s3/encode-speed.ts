import type { Codec } from '../../../../connectors/destinations/s3/codecs.ts';
import { encodeLoop } from './encode-loop.ts';
import { column } from './memory-topic.ts';

/**
 * How fast Avro records become a Parquet file, without a store:
 * `node test/integration/destinations/s3/encode-speed.ts [rows] [codec]`. Prints one JSON object.
 */
const figures = await encodeLoop({
  rows: Number(process.argv[2] ?? 1_000_000),
  codec: (process.argv[3] ?? 'SNAPPY') as Codec,
  columns: [
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
  ],
  row: (i) => ({
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
  }),
});
console.log(JSON.stringify(figures));
