import { mariadbContext, mysqlContext } from '../../../support/contexts.ts';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import { Run } from '../postgres/capture-harness.ts';
import { createDatabase, DATABASE, mysqlConfig } from './mysql-harness.ts';

/**
 * What several sessions make of a first copy: `node test/integration/sources/mysql/copy-readers.ts
 * [mysql|mariadb] [rows] [rounds]` copies a table of that many rows and five of 20,000 by 1, 2 and 4 sessions
 * in turn, into a consumer that throws them away, and prints one JSON object.
 */
const kind = process.argv[2] === 'mariadb' ? 'mariadb' : 'mysql';
const rows = Number(process.argv[3] ?? 1_000_000);
const rounds = Number(process.argv[4] ?? 3);
const SMALL = 20_000;
const READERS = [1, 2, 4];

await using server = await (kind === 'mysql' ? mysqlContext() : mariadbContext());
const sql = await createDatabase(server);
async function fill(table: string, size: number): Promise<void> {
  await sql.run(
    `CREATE TABLE ${table} (id bigint PRIMARY KEY, n int, price decimal(12,2), ok tinyint,
      name varchar(40), pad varchar(200), made datetime(6), seen timestamp)`,
    `INSERT INTO ${table} VALUES (0, 1, 1.25, 1, 'name', repeat('x', 136), now(6), now())`,
  );
  for (let done = 1; done < size; done *= 2) {
    await sql.run(
      `INSERT INTO ${table} SELECT id + ${done}, n, price, ok, name, pad, made, seen FROM ${table}
       WHERE id < ${size - done}`,
    );
  }
}
const tables = ['large', ...Array.from({ length: 5 }, (_, i) => `small_${i}`)];
for (const table of tables) await fill(table, table === 'large' ? rows : SMALL);
const total = rows + 5 * SMALL;

async function copy(concurrency: number): Promise<{ seconds: number; cpu: number }> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  const run = await Run.open(
    { ...mysqlConfig(server), concurrency },
    {
      source,
      decode: false,
      maxBufferedBytes: 64 * 1024 * 1024,
      streams: tables.map((name) => ({ namespace: DATABASE, name })),
    },
  );
  await run.until(() => run.total === total);
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  await run.close();
  return { seconds, cpu: (used.user + used.system) / total };
}

await copy(1);
const found = READERS.map((readers) => ({ readers, seconds: [] as number[], cpu: [] as number[] }));
for (let round = 0; round < rounds; round++) {
  for (const each of found) {
    const { seconds, cpu } = await copy(each.readers);
    each.seconds.push(Math.round(seconds * 100) / 100);
    each.cpu.push(Math.round(cpu * 100) / 100);
  }
}
sql.close();
const best = (values: readonly number[]): number => Math.min(...values);
const one = best(found[0]?.seconds ?? []);
console.log(
  JSON.stringify({
    kind,
    rows: total,
    peakMb: Math.round(process.resourceUsage().maxRSS / 1024),
    found: found.map(({ readers, seconds, cpu }) => ({
      readers,
      seconds,
      cpuMicrosPerRow: best(cpu),
      timesOne: Math.round((100 * one) / best(seconds)) / 100,
    })),
  }),
);
