import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { ApiClient } from '../../deploy/local/api-client.ts';
import { freePort } from '../../deploy/local/free-port.ts';
import { startHeadrace, type HeadraceProcess } from '../../deploy/local/headrace.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { withParquet } from '../support/parquet-events.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  until,
  type Rig,
} from '../support/rig.ts';
import type { Need } from './matrix-points.ts';

const KEYS = 20;
/** Rows of about 1 kB: in a transaction of several record batches, in a file of several parts. */
const ROWS: Record<Need, number> = { changes: 0, copy: 0, batches: 2_000, parts: 22_000 };
/** Seconds that a file may wait. One of several parts is not to be cut by its age on a busy machine. */
const ROTATION: Record<Need, number> = { changes: 4, copy: 4, batches: 4, parts: 30 };
const FIRST_ROWS = 1_500;

const TABLES = `
  create table one (k int primary key, v int not null);
  create table other (k int primary key, v int not null);
  create table wide (k serial primary key, v int not null, pad text not null);
  insert into one select k, 0 from generate_series(0, ${KEYS - 1}) k;
  insert into other select k, 0 from generate_series(0, ${KEYS - 1}) k;`;

const WIDE = `insert into wide (v, pad)
  select 0, (select string_agg(md5(concat(g, ' ', i, random())), '') from generate_series(1, 32) i)
  from generate_series(1, $1) g`;

/** What the site's instances reach its servers by, where it is not the servers themselves. */
export interface Routes {
  readonly source?: { readonly host: string; readonly port: number };
  readonly target?: { readonly host: string; readonly port: number };
  readonly objects?: { readonly url: string };
}

export interface Connections {
  readonly mirror: string;
  readonly history: string;
  readonly lake: string;
}

/**
 * One whole installation among several on a rig's servers: source database and slot, store, topic
 * prefix, destinations and instances of its own. Its application moves a row of `one` and the same
 * row of `other` together, `v` by one each time: a copy of all changes has each `v` of a row once.
 */
export class Site implements AsyncDisposable {
  readonly name: string;
  connections: Connections | null = null;
  private readonly rig: Rig;
  private readonly routes: Routes;
  private readonly source: pg.Client;
  private readonly started: HeadraceProcess[] = [];
  private readonly need: Need;
  private written = 0;

  private constructor(
    made: { rig: Rig; name: string; need: Need; routes: Routes },
    source: pg.Client,
  ) {
    this.rig = made.rig;
    this.name = made.name;
    this.need = made.need;
    this.routes = made.routes;
    this.source = source;
    process.once('exit', () => {
      for (const each of this.started) each.killNow();
    });
  }

  static async make(
    rig: Rig,
    name: string,
    { need = 'changes', routes = {} }: { need?: Need; routes?: Routes } = {},
  ): Promise<Site> {
    await administer(rig.source, [`create database ${name}`]);
    await administer(rig.target, [`create database ${name}`, `create database ${name}_store`]);
    const target = await connectTo(rig.target, name);
    await target.query('create schema mirror; create schema history');
    await target.end();
    const source = await connectTo(rig.source, name);
    await source.query(TABLES);
    await source.query(WIDE, [FIRST_ROWS]);
    return new Site({ rig, name, need, routes }, source);
  }

  /** A whole Headrace in one process; several of a site share the work by leases. */
  async start(failpoints?: string): Promise<HeadraceProcess> {
    const { rig, name } = this;
    const started = await startHeadrace({
      home: join(rig.folder, name),
      apiPort: await freePort(),
      brokers: `127.0.0.1:${rig.kafka.port}`,
      environment: {
        HEADRACE_STORE_URL: `postgres://postgres@127.0.0.1:${rig.target.port}/${name}_store`,
        HEADRACE_TOPIC_PREFIX: name,
        ...(failpoints === undefined
          ? {}
          : { HEADRACE_FAILPOINTS: failpoints, HEADRACE_FAILPOINTS_ALLOWED: 'yes' }),
      },
    });
    this.started.push(started);
    return started;
  }

  /** Creates source, destinations and connections by an instance's API. */
  async connect(instance: HeadraceProcess): Promise<void> {
    const { name, routes } = this;
    const rig = this.driver(instance);
    const sourceId = await createSource(rig, {
      ...cdcSourceConfig(routes.source ?? rig.source),
      database: name,
      replication_method: {
        method: 'CDC',
        replication_slot: name,
        publication: 'headrace',
        create: true,
      },
    });
    const tables = (schema: string): Promise<string> =>
      createDestination(rig, 'postgres', {
        ...postgresConfig(routes.target ?? rig.target),
        database: name,
        schema,
      });
    const files = await createDestination(rig, 's3', {
      ...parquetConfig(routes.objects ?? (rig.minio as LocalServer)),
      s3_bucket_path: `${name}/\${NAMESPACE}/\${STREAM_NAME}`,
      rotation_seconds: ROTATION[this.need],
    });
    this.connections = {
      mirror: await createConnection(rig, sourceId, await tables('mirror'), () => 'append_dedup'),
      history: await createConnection(rig, sourceId, await tables('history'), () => 'append'),
      lake: await createConnection(rig, sourceId, files, () => 'append'),
    };
  }

  /** The rig as an instance of this site serves it. */
  driver(instance: HeadraceProcess): Rig {
    return { ...this.rig, api: new ApiClient(instance.url) };
  }

  /** One transaction over both tables; answers the version that row 0 has from then on. */
  async write(): Promise<number> {
    const keys = [0, 1, 2, 3, 4].map((i) => (i === 0 ? 0 : (this.written * 4 + i) % KEYS));
    this.written++;
    await this.source.query('begin');
    const { rows } = await this.source.query<{ k: number; v: number }>(
      'update one set v = v + 1 where k = any($1) returning k, v',
      [keys],
    );
    await this.source.query('update other set v = v + 1 where k = any($1)', [keys]);
    await this.source.query('commit');
    return rows.find(({ k }) => k === 0)?.v ?? 0;
  }

  /** One transaction that is as large as the place needs. */
  async writeMuch(need: Need): Promise<void> {
    if (ROWS[need] > 0) await this.source.query(WIDE, [ROWS[need]]);
  }

  /** Row 0 as the deduped copy has it. */
  async versionInMirror(): Promise<number> {
    const target = await connectTo(this.rig.target, this.name);
    try {
      const { rows } = await target.query<{ v: number }>('select v from mirror.one where k = 0');
      return rows[0]?.v ?? -1;
    } finally {
      await target.end();
    }
  }

  /** How many sources and connections an instance works on. */
  async leasesOf({ pid }: HeadraceProcess): Promise<number> {
    const store = await connectTo(this.rig.target, `${this.name}_store`);
    try {
      const { rows } = await store.query<{ n: number }>(
        `select count(*)::int as n from headrace.lease where owner like $1 and expires_at > extract(epoch from now()) * 1000
           and (unit like 'source:%' or unit like 'connection:%')`,
        [`%-${pid}-%`],
      );
      return rows[0]?.n ?? 0;
    } finally {
      await store.end();
    }
  }

  logOf({ log }: HeadraceProcess): string {
    return readFileSync(log, 'utf8');
  }

  /** What differs between the source and its three copies; nobody writes meanwhile. */
  async differences(): Promise<string[]> {
    const target = await connectTo(this.rig.target, this.name);
    try {
      const found: string[] = [];
      for (const table of ['one', 'other', 'wide']) {
        const truth = await versions(this.source, `select k, v from ${table}`);
        const mirror = await versions(target, `select k, v from mirror.${table}`);
        found.push(...unequal(`mirror.${table}`, truth, mirror));
        const { rows } = await target.query<History>(historyOf(`history.${table}`));
        found.push(...uneven(`history.${table}`, truth, rows));
      }
      const torn = await target.query(
        `(select k, v from history.one except all select k, v from history.other) union all
         (select k, v from history.other except all select k, v from history.one)`,
      );
      if ((torn.rowCount ?? 0) > 0) found.push(`history: ${torn.rowCount} halves of a transaction`);
      return [...found, ...(await this.lakeDifferences())];
    } finally {
      await target.end();
    }
  }

  private lakeDifferences(): Promise<string[]> {
    const read = async (
      _streams: readonly string[],
      rows: (sql: string) => Promise<unknown[][]>,
      folder: string,
    ): Promise<string[]> => {
      const found: string[] = [];
      for (const table of ['one', 'other', 'wide']) {
        const truth = await versions(this.source, `select k, v from ${table}`);
        const files = `read_parquet('${folder}/${table}-*.parquet', union_by_name = true)`;
        const histories = (await rows(historyOf(files))).map((row) => {
          const [k, n, low, high, misplaced] = row.map(Number) as [
            number,
            number,
            number,
            number,
            number,
          ];
          return { k, n, low, high, misplaced };
        });
        found.push(...uneven(`lake ${table}`, truth, histories));
      }
      return found;
    };
    return withParquet(this.rig.minio as LocalServer, this.name, read);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.started.map((each) => each.kill()));
    await this.source.end().catch(() => undefined);
  }
}

interface History {
  readonly k: number;
  /** Rows, lowest and highest version, and rows that are not in their version's place. */
  readonly n: number;
  readonly low: number;
  readonly high: number;
  readonly misplaced: number;
}

function historyOf(table: string): string {
  return `select k, count(*)::int as n, min(v) as low, max(v) as high,
      (count(*) filter (where v <> low + place - 1))::int as misplaced
    from (select k, v, min(v) over (partition by k) as low, row_number() over
        (partition by k order by _headrace_epoch, _ab_cdc_lsn, _headrace_seq) as place
      from ${table}) placed group by k`;
}

async function versions(client: pg.Client, sql: string): Promise<Map<number, number>> {
  const { rows } = await client.query<{ k: number; v: number }>(sql);
  return new Map(rows.map(({ k, v }) => [k, v]));
}

function unequal(
  what: string,
  truth: ReadonlyMap<number, number>,
  copy: ReadonlyMap<number, number>,
): string[] {
  const keys = [...new Set([...truth.keys(), ...copy.keys()])];
  const wrong = keys.filter((key) => truth.get(key) !== copy.get(key));
  return wrong.length === 0 ? [] : [`${what}: ${wrong.length} rows differ, one is ${wrong[0]}`];
}

function uneven(
  what: string,
  truth: ReadonlyMap<number, number>,
  histories: readonly History[],
): string[] {
  const ends = new Map(histories.map(({ k, high }) => [k, high]));
  const wrong = histories.filter(
    ({ n, low, high, misplaced }) => n !== high - low + 1 || misplaced,
  );
  const counted = wrong.map((history) => `${what}: ${JSON.stringify(history)}`);
  return [...unequal(what, truth, ends), ...counted.slice(0, 3)];
}

async function administer(server: LocalServer, statements: readonly string[]): Promise<void> {
  const client = await connectTo(server);
  try {
    // Two sites at once: a template database takes one session at a time.
    for (const statement of statements) {
      await until(statement, async () => {
        await client.query(statement);
        return true;
      });
    }
  } finally {
    await client.end();
  }
}
