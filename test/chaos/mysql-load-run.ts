import { setTimeout as delay } from 'node:timers/promises';
import {
  createDatabase,
  mysqlConfig,
  sqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import type { ServerKind } from '../integration/sources/mysql/value-zoo.ts';
import { mariadbContext, mysqlContext, type ServerContext } from '../support/contexts.ts';
import {
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { createTables, MysqlWriters, TABLES } from './mysql-writers.ts';

export interface MysqlLoadOptions {
  readonly kind: ServerKind;
  readonly seconds: number;
  readonly seed: number;
  report(line: string): void;
}

export interface MysqlLoadResult {
  readonly kind: ServerKind;
  readonly seed: number;
  readonly transactions: number;
  readonly rolledBack: number;
  readonly failed: number;
  readonly changes: number;
  readonly rows: number;
  readonly faults: Readonly<
    Record<'unequal' | 'twice' | 'missing' | 'disorder' | 'failedJobs', number>
  >;
}

/** Settles late commits of writers whose server is killed for good, and long recoveries. */
const BARRIER_MS = 180_000;

/** One source, copied to a deduped table and to one row per change, hit at each of its parts. */
export async function mysqlLoad(options: MysqlLoadOptions): Promise<MysqlLoadResult> {
  const { kind, seconds, seed, report } = options;
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await using server = await (kind === 'mysql' ? mysqlContext() : mariadbContext());
  const sql = await createDatabase(server);
  await createTables(sql);
  sql.close();
  const writers = new MysqlWriters(server, seed);
  const connections = await connect(rig, server);
  for (const [name, hit] of Object.entries(hits(rig, server))) {
    await delay((seconds * 1000) / 6);
    report(`kill -9 ${name}`);
    await hit();
  }
  await delay((seconds * 1000) / 6);
  await writers.end();
  const jobs = [];
  for (const id of connections) jobs.push(await sync(rig, id, BARRIER_MS));
  const failedJobs = jobs.filter(({ job }) => job.status !== 'succeeded').length;
  const found = await compared(rig, server);
  return {
    kind,
    seed,
    ...writers.figures,
    changes: found.changes,
    rows: found.rows,
    faults: { ...found.faults, failedJobs },
  };
}

async function connect(rig: Rig, server: ServerContext): Promise<string[]> {
  for (const schema of ['mirror', 'history']) await query(rig.target, `create schema ${schema}`);
  const sourceId = await createSource(rig, mysqlConfig(server), 'sourceMysql');
  const to = async (schema: string, mode: 'append' | 'append_dedup'): Promise<string> => {
    const config = { ...postgresConfig(rig.target), schema };
    const destinationId = await createDestination(rig, 'postgres', config);
    return createConnection(rig, sourceId, destinationId, () => mode);
  };
  return [await to('mirror', 'append_dedup'), await to('history', 'append')];
}

function hits(rig: Rig, server: ServerContext): Record<string, () => Promise<unknown>> {
  const restarted = async (role: 'source' | 'sink'): Promise<void> => {
    await rig.processes.get(role)?.kill();
    await rig.start(role);
  };
  return {
    source: () => restarted('source'),
    server: () => server.kill().then(() => server.restart()),
    broker: () => rig.kafka.kill().then(() => rig.kafka.restart()),
    'source and sink': () => Promise.all([restarted('source'), restarted('sink')]),
  };
}

/** Rows by id as one text each; JSON is left to the type tests, which know how each side prints it. */
const CELLS = `concat_ws('|', id, n, k, amount, word, made)`;

async function compared(rig: Rig, server: ServerContext) {
  const faults = { unequal: 0, twice: 0, missing: 0, disorder: 0 };
  let [rows, changes] = [0, 0];
  for (const table of TABLES) {
    const sql = await sqlClient(server);
    const there = await sql.run(
      `SELECT id, CONCAT_WS('|', id, n, k, amount, word, TRIM(TRAILING '.' FROM
         TRIM(TRAILING '0' FROM made))) AS cells FROM ${table} ORDER BY id`,
    );
    sql.close();
    const here = await query<{ id: string; cells: string }>(
      rig.target,
      `select id::text as id, ${CELLS} as cells from mirror.${table} order by ${table}.id`,
    );
    rows += there.length;
    const wanted = new Map(there.map((row) => [row['id'], row['cells']]));
    faults.unequal += Math.abs(there.length - here.length);
    faults.unequal += here.filter(({ id, cells }) => wanted.get(id) !== cells).length;
    const told = await historyOf(rig, table);
    changes += told.changes;
    faults.twice += told.twice;
    faults.missing += told.missing;
    faults.disorder += told.disorder;
  }
  return { faults, rows, changes };
}

/**
 * Of each id, one row per change: `n` goes up by one from what the first copy has, each exactly once and in
 * order, up to what the deduped table holds or to one delete.
 */
async function historyOf(rig: Rig, table: string) {
  const [found] = await query<Record<'changes' | 'twice' | 'missing' | 'disorder', number>>(
    rig.target,
    `with told as (
       select id, n, _ab_cdc_deleted_at is not null as deleted,
         row_number() over (partition by id order by _headrace_epoch, _ab_cdc_lsn, _headrace_seq) as nth
       from history.${table}),
     steps as (
       select *, n - lag(n) over (partition by id order by nth) as step from told where not deleted),
     rows as (
       select id, count(*) filter (where not deleted) as kept, count(*) filter (where deleted) as gone,
         max(n) filter (where not deleted) as newest, min(n) filter (where not deleted) as oldest
       from told group by id)
     select (select count(*) from told)::int as changes,
       ((select count(*) - count(distinct (id, n)) from told where not deleted)
         + (select coalesce(sum(gone - 1), 0) from rows where gone > 1))::int as twice,
       ((select coalesce(sum(newest - oldest + 1 - kept), 0) from rows where newest - oldest + 1 > kept)
         + (select count(*) from rows r left join mirror.${table} m using (id)
            where (m.id is null) <> (r.gone > 0) or (m.id is not null and m.n <> r.newest))
         + (select count(*) from mirror.${table} m where not exists
             (select from rows r where r.id = m.id)))::int as missing,
       (select count(*) from steps where step is not null and step <> 1)::int as disorder`,
  );
  if (found === undefined) throw new Error('no figures');
  return found;
}
