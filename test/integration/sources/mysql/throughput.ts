import { mariadbContext, mysqlContext } from '../../../support/contexts.ts';
import { createDatabase, mysqlConfig, openRun } from './mysql-harness.ts';

/**
 * How fast the source alone is: `node test/integration/sources/mysql/throughput.ts [mysql|mariadb]
 * [rows]` copies that many rows and drains as many changes into a consumer that throws them away, and
 * prints one JSON object.
 */
const kind = process.argv[2] === 'mariadb' ? 'mariadb' : 'mysql';
const rows = Number(process.argv[3] ?? 500_000);
const PER_STATEMENT = 1000;

async function measured(work: () => Promise<void>) {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  return {
    seconds: Math.round(seconds * 100) / 100,
    perSecond: Math.round(rows / seconds),
    cpuMicrosPerRecord: Math.round(((used.user + used.system) / rows) * 100) / 100,
  };
}

await using server = await (kind === 'mysql' ? mysqlContext() : mariadbContext());
const sql = await createDatabase(server);
const table = `(id bigint PRIMARY KEY, n int, price decimal(12,2), ok tinyint, name varchar(40),
  pad varchar(200), made datetime(6), seen timestamp)`;
await sql.run(`CREATE TABLE copied ${table}`, `CREATE TABLE streamed ${table}`);
async function fill(name: string): Promise<void> {
  for (let from = 0; from < rows; from += PER_STATEMENT) {
    const values = Array.from({ length: PER_STATEMENT }, (_, i) => {
      const id = from + i;
      return `(${id}, ${id % 1000}, ${(id % 100_000) / 100}, ${id % 2}, 'name ${id}', repeat('x', 136), now(6), now())`;
    });
    await sql.run(`INSERT INTO ${name} VALUES ${values.join(', ')}`);
  }
}
await fill('copied');
const options = { decode: false, maxBufferedBytes: 64 * 1024 * 1024 };
const first = await openRun(server, ['copied', 'streamed'], options);
const snapshot = await measured(() => first.until(() => first.total === rows));
await first.until(() => first.progress().phase === 'streaming');
await first.caughtUp(mysqlConfig(server));
await first.close();
await fill('streamed');
const second = await openRun(server, ['copied', 'streamed'], {
  ...options,
  state: first.state,
  registry: first.registry,
});
const stream = await measured(() => second.until(() => second.total === rows));
await second.close();
sql.close();
console.log(JSON.stringify({ kind, rows, snapshot, stream }));
