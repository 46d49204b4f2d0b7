import { postgresContext } from '../../../support/contexts.ts';
import { freshDatabase, Run } from './capture-harness.ts';

/**
 * How fast the source alone is: `node test/integration/sources/postgres/throughput.ts [changes] [rows]`
 * drains that many changes and copies that many rows into a consumer that throws them away, and
 * prints one JSON object.
 */
const changes = Number(process.argv[2] ?? 500_000);
const rows = Number(process.argv[3] ?? 1_000_000);
const PER_TRANSACTION = 100;

const TABLE = `CREATE TABLE %s (id bigint PRIMARY KEY, n int, price numeric(12,2), ok boolean,
  name varchar(40), pad text, made timestamptz, seen timestamptz)`;
const ROW = `i, i % 1000, (i % 100000) / 100.0, i % 2 = 0, 'name ' || i, repeat('x', 136), now(), now()`;

interface Figures {
  readonly seconds: number;
  readonly perSecond: number;
  readonly cpuMicrosPerRecord: number;
  readonly peakRssMb: number;
}

async function measured(records: number, work: () => Promise<void>): Promise<Figures> {
  let peak = 0;
  const sampler = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 50);
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  clearInterval(sampler);
  return {
    seconds: Math.round(seconds * 100) / 100,
    perSecond: Math.round(records / seconds),
    cpuMicrosPerRecord: Math.round(((used.user + used.system) / records) * 100) / 100,
    peakRssMb: Math.round(peak / 1e6),
  };
}

await using server = await postgresContext({
  settings: { synchronous_commit: 'off', autovacuum: 'off', max_wal_size: '8GB' },
});
await using db = await freshDatabase(server, 'speed');
await db.sql.query(TABLE.replace('%s', 'streamed'));
await db.sql.query(TABLE.replace('%s', 'copied'));
await db.sql.query(`INSERT INTO copied SELECT ${ROW} FROM generate_series(1, ${rows}) i`);
const first = await Run.open(db.config, { streams: ['streamed'], decode: false });
await first.caughtUp(db.config);
await first.close();

const transactions = changes / 2 / PER_TRANSACTION;
await db.sql.query(`DO $$ BEGIN FOR x IN 0..${transactions - 1} LOOP
  INSERT INTO streamed SELECT ${ROW} FROM generate_series(x * ${PER_TRANSACTION} + 1, (x + 1) * ${PER_TRANSACTION}) i;
  COMMIT; UPDATE streamed SET n = n + 1 WHERE id > x * ${PER_TRANSACTION}; COMMIT;
  END LOOP; END $$`);

const stream = await measured(changes, async () => {
  const run = await Run.open(db.config, {
    streams: ['streamed'],
    partitions: 4,
    state: first.state,
    decode: false,
  });
  await run.until(() => run.total >= changes, 'the drain');
  await run.close();
  first.state = run.state;
});
const snapshot = await measured(rows, async () => {
  const run = await Run.open(db.config, {
    streams: ['streamed', 'copied'],
    partitions: 4,
    state: first.state,
    decode: false,
  });
  await run.until(() => run.total >= rows, 'the copy');
  await run.close();
});
console.log(JSON.stringify({ changes, stream, rows, snapshot }));
