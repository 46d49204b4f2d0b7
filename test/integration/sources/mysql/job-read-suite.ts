import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run, SeenEnvelope } from '../postgres/capture-harness.ts';
import { cursorTests } from './cursor-tests.ts';
import { JobStage } from './job-stage.ts';
import { DATABASE, mysqlConfig, openRun } from './mysql-harness.ts';
import { zooRows, zooTable, type ServerKind } from './value-zoo.ts';

export function jobReadSuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`streams of ${name} read by jobs`, () => {
    let stage: JobStage;
    beforeAll(async () => {
      stage = await JobStage.start(kind, start);
    });
    afterAll(() => stage.end());

    it('are checked and discovered with no right but SELECT', async () => {
      await stage.sql.run(
        `CREATE TABLE seen (id bigint unsigned PRIMARY KEY, f double, e enum('a'), name varchar(20), updated_at datetime(6))`,
      );
      const found = (await source.discover(stage.standard())).find(
        ({ stream }) => stream.name === 'seen',
      );
      expect(found).toMatchObject({
        sourceDefinedCursor: false,
        supportedSyncModes: ['full_refresh', 'incremental'],
        cursors: ['id', 'name', 'updated_at'],
        defaultCursor: 'updated_at',
        primaryKey: ['id'],
      });
      const statement = 'CREATE INDEX `by_updated_at` ON `shop`.`seen` (`updated_at`)';
      expect(found?.warning).toContain(statement);
      const checked = await source.check(stage.standard());
      expect(checked).toMatchObject({ ok: true });
      expect(checked.warnings?.join()).toContain('the cursor updated_at has no index');
      await stage.sql.run(statement);
      const again = (await source.discover(stage.standard())).find(
        ({ stream }) => stream.name === 'seen',
      );
      expect(again?.warning).toBeUndefined();
      expect((await source.check(stage.standard())).warnings?.join() ?? '').not.toContain(
        'updated_at',
      );
    });

    it('are checked for what the user may not read', async () => {
      await stage.sql.run(
        `CREATE USER other@'%' IDENTIFIED BY 'secret'`,
        `GRANT INSERT ON ${DATABASE}.* TO other@'%'`,
      );
      const refused = await source.check({ ...stage.standard(), username: 'other' });
      expect(refused.ok).toBe(false);
      expect(refused.message).toContain('run: GRANT SELECT ON `shop`.`seen` TO');
      const run = await stage.read(
        { job: '1', streams: [{ name: 'seen' }] },
        { ...stage.standard(), username: 'other' },
      );
      expect(run.progress().streams[0]?.error?.code).toBe('SRC_PRIVILEGE');
    });

    it('have the values of the first copy and of the log, byte for byte', async () => {
      await stage.sql.run(`SET SESSION sql_mode = ''`, zooTable(kind), ...zooRows(kind, 0));
      const capture = await openRun(stage.server, ['zoo']);
      await capture.until(() => capture.progress().phase === 'streaming', 'the stream');
      await stage.sql.run(...zooRows(kind, 1000));
      await capture.caughtUp(mysqlConfig(stage.server));
      const rowsOf = (run: Run) =>
        new Map(
          run
            .events('shop.zoo')
            .flatMap(({ after }) => (after === null ? [] : [[Number(after['id']), after]])),
        ) as Map<number, Record<string, unknown>>;
      await capture.until(() => rowsOf(capture).size === rowCount() * 2, 'the rows of the log');
      const job = await stage.read({
        job: '1',
        streams: [{ name: 'zoo' }],
        registry: capture.registry,
      });
      const [captured, refreshed] = [rowsOf(capture), rowsOf(job)];
      expect(refreshed.size).toBe(captured.size);
      for (const [id, row] of captured) expect(refreshed.get(id)).toEqual(row);
      await capture.close();
    });
    const rowCount = (): number => zooRows(kind, 0).length;

    it('of a source with a log too, for a full refresh', async () => {
      await stage.sql.run('CREATE TABLE logged (id int PRIMARY KEY, v text)');
      await stage.fill('logged', 1, 12_000, `i, concat('v', i)`);
      const run = await stage.read(
        { job: '1', streams: [{ name: 'logged' }] },
        mysqlConfig(stage.server),
      );
      expect(marksOf(run.events())).toEqual(['t true 1', 'm last 1']);
      expect(run.events()).toHaveLength(12_002);
    });

    it('go on in the same generation where a crash left them, and begin a further one for a new job', async () => {
      await stage.sql.run(
        'CREATE TABLE big (k varchar(20) COLLATE utf8mb4_unicode_ci, id int, v text, PRIMARY KEY (k, id))',
      );
      await stage.fill('big', 1, 35_000, `concat('É', i % 7), i, concat('v', i)`);
      const streams = [{ name: 'big' }];
      const first = await stage.open({ job: '1', streams, maxTransactionMs: 1 });
      await first.until(() => first.batches.some(({ state }) => state !== null));
      await first.close();
      const left = first.events().length;
      expect(left).toBeGreaterThan(9_000);
      expect(left).toBeLessThan(35_002);
      const { state, registry } = first;
      await stage.sql.run(`INSERT INTO big VALUES ('é9', 35001, 'late')`);
      const second = await stage.read({ job: '1', streams, state, registry, maxTransactionMs: 1 });
      const whole = [...first.events(), ...second.events()];
      expect(marksOf(whole)).toEqual(['t true 1', 'm last 1']);
      const ids = whole.filter(({ op }) => op === 'r').map(({ after }) => Number(after?.['id']));
      expect(ids.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 35_001 }, (_, i) => i + 1),
      );
      const other = await stage.read({ job: '2', streams, state, registry });
      expect(marksOf(other.events())).toEqual(['t true 2', 'm last 2']);
      expect(other.events()).toHaveLength(35_003);
      const done = await stage.read({ job: '2', streams, state: other.state, registry });
      expect(done.events()).toEqual([]);
    });

    it('end a statement under way when they are closed', async () => {
      await stage.sql.run('CREATE TABLE held (id int PRIMARY KEY)', 'LOCK TABLES held WRITE');
      const run = await stage.open({ job: '1', streams: [{ name: 'held' }] });
      const waiting = `SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST
        WHERE USER = 'reader' AND INFO LIKE 'SELECT 1 FROM%'`;
      const waiters = async (): Promise<unknown> => (await stage.sql.run(waiting))[0]?.['n'];
      await expect.poll(waiters, { timeout: 30_000 }).toBe('1');
      expect(run.progress().waitingFor).toBe('waiting for a lock on shop.held');
      await run.close();
      const reading = `SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE USER = 'reader'`;
      const left = async (): Promise<unknown> => (await stage.sql.run(reading))[0]?.['n'];
      await expect.poll(left, { timeout: 30_000 }).toBe('0');
      await stage.sql.run('UNLOCK TABLES');
    });

    it('stop at a column that cannot be one, at what is gone and at a generation that lost all rows', async () => {
      await stage.sql.run(
        'CREATE TABLE tagged (id int, tag blob, f float)',
        'INSERT INTO tagged VALUES (1, NULL, 1)',
      );
      for (const cursor of ['tag', 'f', 'nothing']) {
        const streams = [{ name: 'tagged', syncMode: 'incremental', cursor } as const];
        const run = await stage.read({ job: '1', streams });
        expect(run.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
      }
      const keyed = await stage.read({ job: '1', streams: [{ name: 'tagged', key: ['gone'] }] });
      expect(keyed.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
      const streams = [{ name: 'never' }, { name: 'tagged' }];
      const full = await stage.read({ job: '1', streams });
      expect(full.progress().streams.map(({ error }) => error?.code)).toEqual([
        'SRC_STREAM_GONE',
        undefined,
      ]);
      await stage.sql.run('DELETE FROM tagged');
      const { state, registry } = full;
      const empty = await stage.read({ job: '2', streams, state, registry });
      expect(empty.progress().streams[1]?.error?.code).toBe('SRC_REFRESH_EMPTY');
      expect(empty.records).toEqual([]);
    });

    cursorTests(() => stage);
  });
}

function marksOf(events: readonly SeenEnvelope[]): string[] {
  return events
    .filter(({ op }) => op !== 'r')
    .map(({ op, source: { snapshot, epoch } }) => `${op} ${String(snapshot)} ${String(epoch)}`);
}
