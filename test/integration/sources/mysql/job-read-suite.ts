import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { SourceState } from '../../../../connectors/spi/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run, SeenEnvelope } from '../postgres/capture-harness.ts';
import { openJobRun, type JobRunOptions } from '../postgres/job-harness.ts';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  openRun,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';
import { zooRows, zooTable, type ServerKind } from './value-zoo.ts';

/** Settings of a server or a user that must change nothing. */
const HOSTILE: Readonly<Record<ServerKind, readonly string[]>> = {
  mysql: [
    "SET GLOBAL time_zone = '-05:00'",
    "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    'SET GLOBAL sql_select_limit = 3',
    'SET GLOBAL max_execution_time = 1',
  ],
  mariadb: [
    "SET GLOBAL time_zone = '-05:00'",
    "SET GLOBAL sql_mode = 'ORACLE,PAD_CHAR_TO_FULL_LENGTH'",
    'SET GLOBAL sql_select_limit = 3',
    'SET GLOBAL max_statement_time = 0.001',
  ],
};

export function jobReadSuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`streams of ${name} read by jobs`, () => {
    let server: ServerContext;
    let sql: SqlClient;
    let config: Record<string, unknown>;

    beforeAll(async () => {
      server = await start();
      sql = await createDatabase(server);
      await sql.run(
        `CREATE USER reader@'%' IDENTIFIED BY 'secret'`,
        `GRANT SELECT ON ${DATABASE}.* TO reader@'%'`,
      );
      await sql.run(...HOSTILE[kind]);
      config = standard();
    });
    afterAll(async () => {
      sql.close();
      await server[Symbol.asyncDispose]();
    });

    const standard = (more: object = {}): Record<string, unknown> => ({
      ...mysqlConfig(server),
      username: 'reader',
      password: 'secret',
      replication_method: { method: 'STANDARD', ...more },
    });

    const origin = { source, namespace: DATABASE };
    const read = async (options: JobRunOptions, by = config): Promise<Run> => {
      const run = await openJobRun(by, options, origin);
      await run.finished;
      if (run.failure !== null) throw run.failure;
      return run;
    };

    const fill = (table: string, from: number, to: number, cells: string): Promise<unknown> =>
      sql.run(
        `SET SESSION ${kind === 'mysql' ? 'cte_max_recursion_depth' : 'max_recursive_iterations'} = 1000000`,
        `INSERT INTO ${table} WITH RECURSIVE n AS (SELECT ${from} AS i UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
           SELECT ${cells} FROM n`,
      );

    it('are checked and discovered with no right but SELECT', async () => {
      await sql.run(
        `CREATE TABLE seen (id bigint unsigned PRIMARY KEY, f double, e enum('a'), name varchar(20), updated_at datetime(6))`,
      );
      const found = (await source.discover(config)).find(({ stream }) => stream.name === 'seen');
      expect(found).toMatchObject({
        sourceDefinedCursor: false,
        supportedSyncModes: ['full_refresh', 'incremental'],
        cursors: ['id', 'name', 'updated_at'],
        defaultCursor: 'updated_at',
        primaryKey: ['id'],
      });
      const statement = 'CREATE INDEX `by_updated_at` ON `shop`.`seen` (`updated_at`)';
      expect(found?.warning).toContain(statement);
      const checked = await source.check(config);
      expect(checked).toMatchObject({ ok: true });
      expect(checked.warnings?.join()).toContain('the cursor updated_at has no index');
      await sql.run(statement);
      const again = (await source.discover(config)).find(({ stream }) => stream.name === 'seen');
      expect(again?.warning).toBeUndefined();
      expect((await source.check(config)).warnings?.join() ?? '').not.toContain('updated_at');
    });

    it('are checked for what the user may not read', async () => {
      await sql.run(
        `CREATE USER other@'%' IDENTIFIED BY 'secret'`,
        `GRANT INSERT ON ${DATABASE}.* TO other@'%'`,
      );
      const refused = await source.check({ ...config, username: 'other' });
      expect(refused.ok).toBe(false);
      expect(refused.message).toContain('run: GRANT SELECT ON `shop`.`seen` TO');
      const run = await read(
        { job: '1', streams: [{ name: 'seen' }] },
        { ...config, username: 'other' },
      );
      expect(run.progress().streams[0]?.error?.code).toBe('SRC_PRIVILEGE');
    });

    it('have the values of the first copy and of the log, byte for byte', async () => {
      await sql.run(`SET SESSION sql_mode = ''`, zooTable(kind), ...zooRows(kind, 0));
      const capture = await openRun(server, ['zoo']);
      await capture.until(() => capture.progress().phase === 'streaming', 'the stream');
      await sql.run(...zooRows(kind, 1000));
      await capture.caughtUp(mysqlConfig(server));
      const rowsOf = (run: Run) =>
        new Map(
          run
            .events('shop.zoo')
            .flatMap(({ after }) => (after === null ? [] : [[Number(after['id']), after]])),
        ) as Map<number, Record<string, unknown>>;
      await capture.until(() => rowsOf(capture).size === rowCount() * 2, 'the rows of the log');
      const job = await read({ job: '1', streams: [{ name: 'zoo' }], registry: capture.registry });
      const [captured, refreshed] = [rowsOf(capture), rowsOf(job)];
      expect(refreshed.size).toBe(captured.size);
      for (const [id, row] of captured) expect(refreshed.get(id)).toEqual(row);
      await capture.close();
    });
    const rowCount = (): number => zooRows(kind, 0).length;

    it('of a source with a log too, for a full refresh', async () => {
      await sql.run('CREATE TABLE logged (id int PRIMARY KEY, v text)');
      await fill('logged', 1, 12_000, `i, concat('v', i)`);
      const run = await read({ job: '1', streams: [{ name: 'logged' }] }, mysqlConfig(server));
      expect(marksOf(run.events())).toEqual(['t true 1', 'm last 1']);
      expect(run.events()).toHaveLength(12_002);
    });

    it('go on in the same generation where a crash left them, and begin a further one for a new job', async () => {
      await sql.run(
        'CREATE TABLE big (k varchar(20) COLLATE utf8mb4_unicode_ci, id int, v text, PRIMARY KEY (k, id))',
      );
      await fill('big', 1, 35_000, `concat('É', i % 7), i, concat('v', i)`);
      const streams = [{ name: 'big' }];
      const first = await openJobRun(config, { job: '1', streams, maxTransactionMs: 1 }, origin);
      await first.until(() => first.batches.some(({ state }) => state !== null));
      await first.close();
      const left = first.events().length;
      expect(left).toBeGreaterThan(9_000);
      expect(left).toBeLessThan(35_002);
      const { state, registry } = first;
      await sql.run(`INSERT INTO big VALUES ('é9', 35001, 'late')`);
      const second = await read({ job: '1', streams, state, registry, maxTransactionMs: 1 });
      const whole = [...first.events(), ...second.events()];
      expect(marksOf(whole)).toEqual(['t true 1', 'm last 1']);
      const ids = whole.filter(({ op }) => op === 'r').map(({ after }) => Number(after?.['id']));
      expect(ids.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 35_001 }, (_, i) => i + 1),
      );
      const other = await read({ job: '2', streams, state, registry });
      expect(marksOf(other.events())).toEqual(['t true 2', 'm last 2']);
      expect(other.events()).toHaveLength(35_003);
      const done = await read({ job: '2', streams, state: other.state, registry });
      expect(done.events()).toEqual([]);
    });

    it('end a statement under way when they are closed', async () => {
      await sql.run('CREATE TABLE held (id int PRIMARY KEY)', 'LOCK TABLES held WRITE');
      const run = await openJobRun(config, { job: '1', streams: [{ name: 'held' }] }, origin);
      const waiting = `SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST
        WHERE USER = 'reader' AND INFO LIKE 'SELECT 1 FROM%'`;
      const waiters = async (): Promise<unknown> => (await sql.run(waiting))[0]?.['n'];
      await expect.poll(waiters, { timeout: 30_000 }).toBe('1');
      expect(run.progress().waitingFor).toBe('waiting for a lock on shop.held');
      await run.close();
      const reading = `SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE USER = 'reader'`;
      const left = async (): Promise<unknown> => (await sql.run(reading))[0]?.['n'];
      await expect.poll(left, { timeout: 30_000 }).toBe('0');
      await sql.run('UNLOCK TABLES');
    });

    it('stop at a column that cannot be one, at what is gone and at a generation that lost all rows', async () => {
      await sql.run(
        'CREATE TABLE tagged (id int, tag blob, f float)',
        'INSERT INTO tagged VALUES (1, NULL, 1)',
      );
      for (const cursor of ['tag', 'f', 'nothing']) {
        const streams = [{ name: 'tagged', syncMode: 'incremental', cursor } as const];
        const run = await read({ job: '1', streams });
        expect(run.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
      }
      const keyed = await read({ job: '1', streams: [{ name: 'tagged', key: ['gone'] }] });
      expect(keyed.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
      const streams = [{ name: 'never' }, { name: 'tagged' }];
      const full = await read({ job: '1', streams });
      expect(full.progress().streams.map(({ error }) => error?.code)).toEqual([
        'SRC_STREAM_GONE',
        undefined,
      ]);
      await sql.run('DELETE FROM tagged');
      const { state, registry } = full;
      const empty = await read({ job: '2', streams, state, registry });
      expect(empty.progress().streams[1]?.error?.code).toBe('SRC_REFRESH_EMPTY');
      expect(empty.records).toEqual([]);
    });

    describe('by a cursor', () => {
      let state: SourceState | null;
      let registry: Run['registry'] | undefined;
      let job: number;

      const fresh = (): void => {
        [state, registry, job] = [null, undefined, 0];
      };

      const next = async (
        table: string,
        cursor = 'updated_at',
        more: object = {},
        by = config,
      ): Promise<SeenEnvelope[]> => {
        job++;
        const streams = [{ name: table, syncMode: 'incremental', cursor, ...more } as const];
        const run = await read(
          {
            job: String(job).padStart(4, '0'),
            streams,
            state,
            ...(registry === undefined ? {} : { registry }),
          },
          by,
        );
        expect(run.progress().streams[0]?.error).toBeUndefined();
        ({ state, registry } = run);
        return run.events();
      };

      const ids = (events: readonly SeenEnvelope[]) =>
        events.map(({ op, after }) => `${op} ${String(after?.['id'])}`).toSorted();

      it('take a row once that is committed late with an older value, and nothing twice', async () => {
        fresh();
        await sql.run(
          'CREATE TABLE late (id int, updated_at timestamp(3) NULL, KEY (updated_at))',
          'INSERT INTO late VALUES (1, now(3) - INTERVAL 1 DAY), (1, now(3) - INTERVAL 1 DAY), (2, now(3))',
        );
        const open = await sqlClient(server);
        await open.run('BEGIN', 'INSERT INTO late VALUES (10, now(3) - INTERVAL 250 SECOND)');
        await sql.run('INSERT INTO late VALUES (20, now(3)), (20, now(3))');
        expect(ids(await next('late'))).toEqual(['r 1', 'r 1', 'r 2', 'r 20', 'r 20']);
        await sql.run('INSERT INTO late VALUES (21, now(3))');
        expect(ids(await next('late'))).toEqual(['r 21']);
        await open.run('INSERT INTO late VALUES (11, now(3) - INTERVAL 200 SECOND)', 'COMMIT');
        open.close();
        expect(ids(await next('late'))).toEqual(['r 10', 'r 11']);
        expect(ids(await next('late'))).toEqual([]);
        await sql.run('UPDATE late SET updated_at = now(3) WHERE id = 10');
        expect(ids(await next('late'))).toEqual(['r 10']);
        expect(ids(await next('late'))).toEqual([]);
      });

      it('promise no more than the overlap that is set', async () => {
        fresh();
        const short = standard({ cursor_overlap_seconds: 10 });
        await sql.run(
          'CREATE TABLE longest (id int PRIMARY KEY, updated_at datetime(6), KEY (updated_at))',
          'INSERT INTO longest VALUES (1, utc_timestamp(6))',
        );
        expect(ids(await next('longest', 'updated_at', {}, short))).toEqual(['r 1']);
        await sql.run(
          'INSERT INTO longest SELECT 2, updated_at - INTERVAL 9 SECOND FROM longest',
          'INSERT INTO longest SELECT 3, updated_at - INTERVAL 11 SECOND FROM longest WHERE id = 1',
        );
        expect(ids(await next('longest', 'updated_at', {}, short))).toEqual(['r 2']);
      });

      it('take rows without a place in the order when they are written', async () => {
        fresh();
        await sql.run(
          `SET SESSION sql_mode = ''`,
          'CREATE TABLE odd (id int PRIMARY KEY, updated_at datetime)',
          `INSERT INTO odd VALUES (1, NULL), (2, '9999-12-31'), (3, '0000-00-00'), (4, utc_timestamp())`,
        );
        expect(ids(await next('odd'))).toEqual(['r 1', 'r 2', 'r 3', 'r 4']);
        expect(ids(await next('odd'))).toEqual([]);
        await sql.run(
          `INSERT INTO odd VALUES (5, utc_timestamp()), (6, NULL), (7, '0000-00-00'), (8, '9999-12-31')`,
        );
        expect(ids(await next('odd'))).toEqual(['r 5', 'r 6', 'r 7', 'r 8']);
        expect(ids(await next('odd'))).toEqual([]);
      });

      const CURSORS: Readonly<Record<string, readonly [type: string, of: (i: number) => string]>> =
        {
          unsigned: ['bigint unsigned', (i) => `${18_446_744_073_709_551_000n + BigInt(i)}`],
          exact: ['decimal(40,20)', (i) => `12345678901234567890.${String(i).padStart(20, '0')}`],
          folded: [
            'varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci',
            (i) => `'${i % 2 === 0 ? 'Ä' : 'ä'}${String(i).padStart(4, '0')}'`,
          ],
          micro: ['datetime(6)', (i) => `'2024-03-31 02:30:00.${String(i).padStart(6, '0')}'`],
          day: ['date', (i) => `'2024-01-01' + INTERVAL ${i >> 7} DAY`],
          stamp: [
            'timestamp(6) NULL',
            (i) => `'2024-10-27 01:30:00.${String(i).padStart(6, '0')}'`,
          ],
        };

      it.each(Object.keys(CURSORS))('read exactly by a value that is %s', async (cursor) => {
        fresh();
        const [type, of] = CURSORS[cursor] as (typeof CURSORS)[string];
        const table = `by_${cursor}`;
        const insert = (from: number, to: number): Promise<unknown> =>
          sql.run(
            `INSERT INTO ${table} VALUES ${Array.from({ length: to - from + 1 }, (_, i) => `(${from + i}, ${of(from + i)})`).join(', ')}`,
          );
        await sql.run(`CREATE TABLE ${table} (id int PRIMARY KEY, c ${type}, KEY (c))`);
        await insert(1, 300);
        expect(await next(table, 'c')).toHaveLength(300);
        await insert(302, 303);
        expect(ids(await next(table, 'c'))).toEqual(['r 302', 'r 303']);
        await insert(301, 301);
        expect(ids(await next(table, 'c'))).toEqual(['r 301']);
        expect(await next(table, 'c')).toEqual([]);
      });

      it('begin anew behind a truncate, and go on with a first read that was interrupted', async () => {
        fresh();
        await sql.run('CREATE TABLE counted (id bigint AUTO_INCREMENT PRIMARY KEY, v text)');
        await fill('counted', 1, 35_000, `i, 'v'`);
        const streams = [{ name: 'counted', syncMode: 'incremental', cursor: 'id' } as const];
        const first = await openJobRun(
          config,
          { job: '0001', streams, maxTransactionMs: 1 },
          origin,
        );
        await first.until(() => first.batches.some((batch) => batch.state !== null));
        await first.close();
        ({ state, registry } = first);
        await sql.run(`INSERT INTO counted (v) VALUES ('v')`);
        const rest = await next('counted', 'id');
        const whole = [...first.events(), ...rest].map(({ after }) => Number(after?.['id']));
        expect(whole.toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: 35_001 }, (_, i) => i + 1),
        );
        await sql.run(`INSERT INTO counted (v) VALUES ('v')`);
        expect(ids(await next('counted', 'id'))).toEqual(['r 35002']);
        await sql.run('DELETE FROM counted WHERE id > 2');
        const again = await next('counted', 'id', { copy: '3' });
        expect(again.map(({ op }) => op)).toEqual(['t', 'r', 'r']);
        expect(await next('counted', 'id', { copy: '3' })).toEqual([]);
      });
    });
  });
}

function marksOf(events: readonly SeenEnvelope[]): string[] {
  return events
    .filter(({ op }) => op !== 'r')
    .map(({ op, source: { snapshot, epoch } }) => `${op} ${String(snapshot)} ${String(epoch)}`);
}
