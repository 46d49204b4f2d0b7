import { describe, expect, it } from 'vitest';
import type { SourceState } from '../../../../connectors/spi/source.ts';
import type { Run, SeenEnvelope } from '../postgres/capture-harness.ts';
import type { JobStage } from './job-stage.ts';
import { sqlClient } from './mysql-harness.ts';

/** Incremental reads by a cursor: what is taken, and that nothing is taken twice. */
export function cursorTests(stage: () => JobStage): void {
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
      by = stage().standard(),
    ): Promise<SeenEnvelope[]> => {
      job++;
      const streams = [{ name: table, syncMode: 'incremental', cursor, ...more } as const];
      const run = await stage().read(
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
      await stage().sql.run(
        'CREATE TABLE late (id int, updated_at timestamp(3) NULL, KEY (updated_at))',
        'INSERT INTO late VALUES (1, now(3) - INTERVAL 1 DAY), (1, now(3) - INTERVAL 1 DAY), (2, now(3))',
      );
      const open = await sqlClient(stage().server);
      await open.run('BEGIN', 'INSERT INTO late VALUES (10, now(3) - INTERVAL 250 SECOND)');
      await stage().sql.run('INSERT INTO late VALUES (20, now(3)), (20, now(3))');
      expect(ids(await next('late'))).toEqual(['r 1', 'r 1', 'r 2', 'r 20', 'r 20']);
      await stage().sql.run('INSERT INTO late VALUES (21, now(3))');
      expect(ids(await next('late'))).toEqual(['r 21']);
      await open.run('INSERT INTO late VALUES (11, now(3) - INTERVAL 200 SECOND)', 'COMMIT');
      open.close();
      expect(ids(await next('late'))).toEqual(['r 10', 'r 11']);
      expect(ids(await next('late'))).toEqual([]);
      await stage().sql.run('UPDATE late SET updated_at = now(3) WHERE id = 10');
      expect(ids(await next('late'))).toEqual(['r 10']);
      expect(ids(await next('late'))).toEqual([]);
    });

    it('promise no more than the overlap that is set', async () => {
      fresh();
      const short = stage().standard({ cursor_overlap_seconds: 10 });
      await stage().sql.run(
        'CREATE TABLE longest (id int PRIMARY KEY, updated_at datetime(6), KEY (updated_at))',
        'INSERT INTO longest VALUES (1, utc_timestamp(6))',
      );
      expect(ids(await next('longest', 'updated_at', {}, short))).toEqual(['r 1']);
      await stage().sql.run(
        'INSERT INTO longest SELECT 2, updated_at - INTERVAL 9 SECOND FROM longest',
        'INSERT INTO longest SELECT 3, updated_at - INTERVAL 11 SECOND FROM longest WHERE id = 1',
      );
      expect(ids(await next('longest', 'updated_at', {}, short))).toEqual(['r 2']);
    });

    it('take rows without a place in the order when they are written', async () => {
      fresh();
      await stage().sql.run(
        `SET SESSION sql_mode = ''`,
        'CREATE TABLE odd (id int PRIMARY KEY, updated_at datetime)',
        `INSERT INTO odd VALUES (1, NULL), (2, '9999-12-31'), (3, '0000-00-00'), (4, utc_timestamp())`,
      );
      expect(ids(await next('odd'))).toEqual(['r 1', 'r 2', 'r 3', 'r 4']);
      expect(ids(await next('odd'))).toEqual([]);
      await stage().sql.run(
        `INSERT INTO odd VALUES (5, utc_timestamp()), (6, NULL), (7, '0000-00-00'), (8, '9999-12-31')`,
      );
      expect(ids(await next('odd'))).toEqual(['r 5', 'r 6', 'r 7', 'r 8']);
      expect(ids(await next('odd'))).toEqual([]);
    });

    const CURSORS: Readonly<Record<string, readonly [type: string, of: (i: number) => string]>> = {
      unsigned: ['bigint unsigned', (i) => `${18_446_744_073_709_551_000n + BigInt(i)}`],
      exact: ['decimal(40,20)', (i) => `12345678901234567890.${String(i).padStart(20, '0')}`],
      folded: [
        'varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci',
        (i) => `'${i % 2 === 0 ? 'Ä' : 'ä'}${String(i).padStart(4, '0')}'`,
      ],
      micro: ['datetime(6)', (i) => `'2024-03-31 02:30:00.${String(i).padStart(6, '0')}'`],
      day: ['date', (i) => `'2024-01-01' + INTERVAL ${i >> 7} DAY`],
      stamp: ['timestamp(6) NULL', (i) => `'2024-10-27 01:30:00.${String(i).padStart(6, '0')}'`],
    };

    it.each(Object.keys(CURSORS))('read exactly by a value that is %s', async (cursor) => {
      fresh();
      const [type, of] = CURSORS[cursor] as (typeof CURSORS)[string];
      const table = `by_${cursor}`;
      const insert = (from: number, to: number): Promise<unknown> =>
        stage().sql.run(
          `INSERT INTO ${table} VALUES ${Array.from({ length: to - from + 1 }, (_, i) => `(${from + i}, ${of(from + i)})`).join(', ')}`,
        );
      await stage().sql.run(`CREATE TABLE ${table} (id int PRIMARY KEY, c ${type}, KEY (c))`);
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
      await stage().sql.run('CREATE TABLE counted (id bigint AUTO_INCREMENT PRIMARY KEY, v text)');
      await stage().fill('counted', 1, 35_000, `i, 'v'`);
      const streams = [{ name: 'counted', syncMode: 'incremental', cursor: 'id' } as const];
      const first = await stage().open({ job: '0001', streams, maxTransactionMs: 1 });
      await first.until(() => first.batches.some((batch) => batch.state !== null));
      await first.close();
      ({ state, registry } = first);
      await stage().sql.run(`INSERT INTO counted (v) VALUES ('v')`);
      const rest = await next('counted', 'id');
      const whole = [...first.events(), ...rest].map(({ after }) => Number(after?.['id']));
      expect(whole.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 35_001 }, (_, i) => i + 1),
      );
      await stage().sql.run(`INSERT INTO counted (v) VALUES ('v')`);
      expect(ids(await next('counted', 'id'))).toEqual(['r 35002']);
      await stage().sql.run('DELETE FROM counted WHERE id > 2');
      const again = await next('counted', 'id', { copy: '3' });
      expect(again.map(({ op }) => op)).toEqual(['t', 'r', 'r']);
      expect(await next('counted', 'id', { copy: '3' })).toEqual([]);
    });
  });
}
