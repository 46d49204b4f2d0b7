import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { PartitionTarget } from '../../connectors/spi/destination.ts';
import type { ObjectStore } from '../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../connectors/destinations/s3/writer.ts';
import { randomOf } from '../integration/destinations/s3/key-workload.ts';
import { readPublished } from '../integration/destinations/s3/published-reader.ts';
import { column, MemoryTopic, type Row } from '../integration/destinations/s3/memory-topic.ts';
import { switchRun } from '../integration/destinations/s3/switch-run.ts';
import { buffersOf } from '../support/buffers.ts';

const CHANGES = 1_000_000;
const KEYS = 100_000;
const CHECKPOINTS = 20;
const BATCH = 2_000;
const SEED = 42;
const COLUMNS = [
  column('id', 'int64', {}, true),
  column('name', 'string'),
  column('amount', 'decimal', { precision: 12, scale: 2 }),
  column('body', 'string'),
];

/**
 * 1,000,000 changes over 100,000 keys (updates, a third of them without a large cell; deletes,
 * re-inserts, keys that change) in mode append_dedup: at each of 20 checkpoints DuckDB compares the
 * published rows with the truth. Beside it the same changes in mode append, for the bytes written.
 * Then 50 switches under a polling reader, with writers that are killed or come back as zombies.
 */
export async function lake(): Promise<Record<string, unknown>> {
  const scratch = mkdtempSync(join(tmpdir(), 'headrace-lake-'));
  try {
    const deduped = await dedupe(scratch);
    const switches = await switchRun({ seed: SEED, switches: 50, interruptions: 16 });
    return { ...deduped, switches, load: loadavg()[0]?.toFixed(1) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface Written {
  uploaded: number;
  copied: number;
}

/** Counts the bytes of files on their way into the store, and those that the store copies itself. */
function counted(store: ObjectStore, root: string, written: Written): ObjectStore {
  const upload = store.uploadIfAbsent.bind(store);
  const copy = store.copy.bind(store);
  store.uploadIfAbsent = (key, path, bytes, metadata) => {
    written.uploaded += bytes;
    return upload(key, path, bytes, metadata);
  };
  store.copy = async (from, to) => {
    await copy(from, to);
    written.copied += statSync(join(root, to)).size;
  };
  return store;
}

interface Side {
  readonly writer: S3Writer;
  readonly target: PartitionTarget;
  readonly written: Written;
}

async function openSide(scratch: string, topic: MemoryTopic, mode: Mode): Promise<Side> {
  const written = { uploaded: 0, copied: 0 };
  const config = {
    s3_endpoint: `file://${scratch}`,
    s3_bucket_name: mode,
    s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
    format: { format_type: 'Parquet', compression_codec: 'SNAPPY' },
    rotation_seconds: 3600,
  };
  const settings = readSettings(config);
  const options = {
    connectionId: mode,
    config,
    schemas: topic,
    scratchFolder: mkdtempSync(join(scratch, 'spool-')),
    buffers: buffersOf(64 * 1024 * 1024),
    signal: new AbortController().signal,
  };
  const store = counted(openStore(settings), join(scratch, mode), written);
  const writer = await S3Writer.open(options, settings, store);
  const target = { ...topic.target, stream: { ...topic.target.stream, mode } };
  await writer.open(target);
  return { writer, target, written };
}

type Mode = 'append' | 'append_dedup';

async function dedupe(scratch: string): Promise<Record<string, unknown>> {
  const topic = new MemoryTopic({ mode: 'append_dedup' });
  topic.register(1, COLUMNS);
  const rows = new Map<number, Row>();
  const random = randomOf(SEED);
  const keyed = await openSide(scratch, topic, 'append_dedup');
  const plain = await openSide(scratch, topic, 'append');
  const database = await (await DuckDBInstance.create()).connect();
  let microsKeyed = 0;
  let rss = 0;
  let equal = 0;
  for (let checkpoint = 1; checkpoint <= CHECKPOINTS; checkpoint++) {
    const first = topic.end;
    const end = (CHANGES / CHECKPOINTS) * checkpoint;
    while (topic.end < end) change(topic, rows, random);
    const before = process.cpuUsage();
    await deliver(keyed, topic, first);
    const { user, system } = process.cpuUsage(before);
    microsKeyed += user + system;
    rss = Math.max(rss, process.memoryUsage.rss());
    await deliver(plain, topic, first);
    topic.forget(topic.end);
    const truth = join(scratch, 'truth.json');
    writeFileSync(truth, [...rows.values()].map(line).join('\n'));
    const columns = "{id: 'BIGINT', name: 'VARCHAR', amount: 'DECIMAL(38,2)', body: 'VARCHAR'}";
    const wanted = `(select * from read_json('${truth}', format = 'newline_delimited', columns = ${columns}))`;
    const found = '(select id, name, amount, body from ROWS)';
    const [counts] = await readPublished(
      database,
      join(scratch, 'append_dedup'),
      'data/production_public/customers',
      `select (select count(*) from ROWS), (select count(*) from (${found} except all ${wanted})),
        (select count(*) from (${wanted} except all ${found}))`,
    );
    const [count, surplus, missing] = (counts as bigint[]).map(Number);
    if (count !== rows.size || surplus !== 0 || missing !== 0) {
      throw new Error(`checkpoint ${checkpoint}: ${surplus} rows too many, ${missing} too few`);
    }
    equal++;
    process.stderr.write(`checkpoint ${checkpoint}: ${rows.size} rows, equal\n`);
  }
  await keyed.writer.close();
  await plain.writer.close();
  database.closeSync();
  return {
    changes: topic.end,
    rows: rows.size,
    checkpointsEqual: equal,
    microsCpuPerChange: Math.round((microsKeyed / topic.end) * 10) / 10,
    maxRssMb: Math.round(rss / 1e6),
    uploadedMb: megabytes(keyed.written.uploaded),
    copiedInStoreMb: megabytes(keyed.written.copied),
    appendUploadedMb: megabytes(plain.written.uploaded),
  };
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}

function line(row: Row): string {
  return JSON.stringify(row, (_, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );
}

async function deliver({ writer, target }: Side, topic: MemoryTopic, first: number): Promise<void> {
  for (let at = first; at < topic.end; at += BATCH) {
    const batch = topic.batch(at, Math.min(topic.end, at + BATCH));
    await writer.write([{ ...batch, target }]);
  }
  await writer.flush();
}

/** One change, or the delete, tombstone and create that a change of key is. */
function change(topic: MemoryTopic, rows: Map<number, Row>, random: () => number): void {
  const id = Math.floor(random() * KEYS);
  const row = rows.get(id);
  const dice = random();
  const fresh = (key: number): void => {
    const at = topic.end;
    const body = `${'lorem ipsum dolor sit amet '.repeat(6)}${at}`;
    const after = { id: BigInt(key), name: `name ${at}`, amount: `${at % 10_000}.25`, body };
    rows.set(key, after);
    topic.append(1, { after });
  };
  const remove = (): void => {
    rows.delete(id);
    topic.append(1, { op: 'd', before: { id: BigInt(id), name: null, amount: null, body: null } });
    topic.appendTombstone({ id: BigInt(id) });
  };
  if (row === undefined) fresh(id);
  else if (dice < 0.1) remove();
  else if (dice < 0.15) {
    remove();
    const other = Math.floor(random() * KEYS);
    if (!rows.has(other)) fresh(other);
  } else {
    const after = { ...row, name: `name ${topic.end}` };
    rows.set(id, after);
    const lacksBody = dice < 0.45;
    const sent = lacksBody ? { ...after, body: null } : after;
    topic.append(1, { op: 'u', after: sent, unchanged: lacksBody ? ['body'] : null });
  }
}
