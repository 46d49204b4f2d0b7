import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import type { Codec } from '../../connectors/destinations/s3/codecs.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { encodeLoop } from '../integration/destinations/s3/encode-loop.ts';
import { column } from '../integration/destinations/s3/memory-topic.ts';
import { query } from '../support/rig.ts';

const run = promisify(execFile);

/** What the machine allows where nobody reads the bytes; null where the tool is not installed. */
export interface Limit {
  readonly seconds: number;
  readonly perSecond: number;
}

/** The log of a slot, decoded by the server and thrown away by `pg_recvlogical`: the slot is copied,
 * so that the original still has everything. */
export async function recvlogical(
  server: LocalServer,
  slot: string,
  publication: string,
  changes: number,
): Promise<Limit | null> {
  const copy = 'bench_limit';
  await query(server, 'select pg_copy_logical_replication_slot($1, $2)', [slot, copy]);
  try {
    const [end] = await query<{ lsn: string }>(server, 'select pg_current_wal_lsn()::text lsn');
    const args = ['-h', server.host, '-p', String(server.port), '-U', 'postgres', '-d', 'postgres'];
    const options = ['-o', 'proto_version=1', '-o', `publication_names=${publication}`];
    args.push('--slot', copy, '--start', '--no-loop', '--endpos', String(end?.lsn), ...options);
    const started = performance.now();
    await run('pg_recvlogical', [...args, '-f', '/dev/null'], { timeout: 300_000 });
    return limit(changes, started);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  } finally {
    await query(server, 'select pg_drop_replication_slot($1)', [copy]);
  }
}

/** A table written to a file by the server itself, and that file read back into another table. */
export async function plainCopy(
  server: LocalServer,
  table: string,
  rows: number,
): Promise<{ readonly out: Limit; readonly in: Limit }> {
  const file = join(tmpdir(), `headrace-bench-copy-${process.pid}`);
  const out = performance.now();
  await query(server, `copy ${table} to '${file}' (format binary)`);
  const written = limit(rows, out);
  await query(server, `create table bench_copy (like ${table} including all)`);
  const started = performance.now();
  await query(server, `copy bench_copy from '${file}' (format binary)`);
  const read = limit(rows, started);
  await query(server, 'drop table bench_copy');
  rmSync(file, { force: true });
  return { out: written, in: read };
}

function limit(count: number, started: number): Limit {
  const seconds = (performance.now() - started) / 1000;
  return { seconds: Math.round(seconds * 100) / 100, perSecond: Math.round(count / seconds) };
}

/** The rows of the backlog as Parquet, by the product's own encoder and thread, from records in memory
 * into a local file: no Kafka, no store, no service around it. */
export async function encodedAlone(rows: number, codec: Codec) {
  return encodeLoop({
    rows,
    codec,
    columns: [
      column('id', 'int64', {}, true),
      column('customer', 'int32'),
      column('amount', 'decimal', { precision: 12, scale: 2 }),
      column('paid', 'boolean'),
      column('status', 'string'),
      column('note', 'string'),
      column('created_at', 'timestamptz'),
      column('updated_at', 'timestamptz'),
    ],
    row: (i) => ({
      id: BigInt(i),
      customer: i % 1000,
      amount: (i / 7).toFixed(2),
      paid: i % 2 === 0,
      status: 'open',
      note: 'n'.repeat(136),
      created_at: '2026-11-29T10:00:00.123456Z',
      updated_at: `2026-11-29T10:${String(i % 60).padStart(2, '0')}:00.123456Z`,
    }),
  });
}
