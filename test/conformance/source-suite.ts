import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Run,
  type Registry,
  type RunOptions,
  type SeenEnvelope,
} from '../integration/sources/postgres/capture-harness.ts';
import { randomOf } from '../chaos/fault-schedule.ts';
import { eachNewer, miscounted, identityOf, plain, tableOf } from './event-facts.ts';
import type { SourceSubject, SqlSession } from './source-subject.ts';

/**
 * What every source promises, whatever its log is made of. One line for each: its own tests are only
 * about what no other source has.
 */
export function sourceSuite(name: string, start: () => Promise<SourceSubject>): void {
  describe(`${name} as a source`, () => {
    let subject: SourceSubject;
    let sql: SqlSession;
    beforeAll(async () => {
      subject = await start();
      sql = await subject.session();
    });
    afterAll(async () => {
      await sql.close();
      await subject.server[Symbol.asyncDispose]();
    });

    const label = (table: string): string => `${subject.namespace}.${table}`;

    /** A reader of these tables under a configuration of the test's own. */
    function open(
      test: string,
      tables: readonly string[],
      options: Omit<RunOptions, 'streams' | 'source'> = {},
    ): Promise<Run> {
      return Run.open(subject.config(test), {
        ...options,
        source: subject.source,
        streams: tables.map((table) => ({ namespace: subject.namespace, name: table })),
      });
    }

    async function streaming(run: Run): Promise<void> {
      await run.until(() => run.progress().phase === 'streaming', 'the stream');
    }

    /** What a new process has of an earlier one: the committed state and the registered schemas. */
    const after = (run: Run): { state: Run['state']; registry: Registry } => ({
      state: run.state,
      registry: run.registry,
    });

    async function tableNow(table: string): Promise<Map<string, string>> {
      const rows = await sql.run(`SELECT id, n FROM ${table}`);
      return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
    }

    async function counterTable(table: string, rows: number): Promise<void> {
      await sql.run(`CREATE TABLE ${table} (id int PRIMARY KEY, n int)`);
      const values = Array.from({ length: rows }, (_, id) => `(${id}, 0)`).join(', ');
      if (rows > 0) await sql.run(`INSERT INTO ${table} VALUES ${values}`);
    }

    it('reads every type and every null the same by snapshot and by log', async () => {
      await sql.run(...subject.zoo.table, ...subject.zoo.rows(0));
      const run = await open('zoo', ['zoo']);
      await streaming(run);
      await sql.run(...subject.zoo.rows(1000));
      await run.caughtUp(subject.config('zoo'));
      const rows = new Map(run.events().map(({ after: row }) => [Number(row?.['id']), row]));
      const copied = [...rows.keys()].filter((id) => id < 1000);
      expect(copied.length).toBe(rows.size / 2);
      for (const id of copied) {
        expect(plain({ ...rows.get(id + 1000), id })).toBe(plain(rows.get(id)));
      }
      const nulls = Object.entries(rows.get(0) ?? {}).filter(([, cell]) => cell === null);
      expect(nulls.length).toBeGreaterThan(20);
      expect(run.registry.schemas.length).toBe(1);
      await run.close();
    });

    it('tells each change once, in order, with images, tombstones and an identity', async () => {
      await counterTable('one', 2);
      await counterTable('two', 0);
      const run = await open('changes', ['one', 'two']);
      await streaming(run);
      await sql.run(
        ...['BEGIN', 'INSERT INTO one VALUES (10, 1)', 'INSERT INTO two VALUES (10, 1)'],
        ...['UPDATE one SET n = 2 WHERE id = 10', 'COMMIT'],
        ...['BEGIN', 'INSERT INTO one VALUES (66, 6)', 'ROLLBACK'],
        ...['BEGIN', 'INSERT INTO one VALUES (11, 1)', 'SAVEPOINT a'],
        ...['INSERT INTO one VALUES (67, 6)', 'ROLLBACK TO SAVEPOINT a'],
        ...['UPDATE one SET n = NULL WHERE id = 11', 'COMMIT'],
        'UPDATE one SET id = 12 WHERE id = 11',
        'DELETE FROM one WHERE id = 10',
        'TRUNCATE TABLE one',
        'INSERT INTO one VALUES (1, 5)',
      );
      await run.caughtUp(subject.config('changes'));
      const streamed = run.events(label('one')).filter(({ op }) => op !== 'r');
      expect(streamed.map(({ op }) => op).join('')).toBe('cucudcdtc');
      const images = streamed.map(({ before, after: row }) => row ?? { id: before?.['id'] });
      expect(images.slice(0, 4)).toEqual([
        { id: 10, n: 1 },
        { id: 10, n: 2 },
        { id: 11, n: 1 },
        { id: 11, n: null },
      ]);
      expect(streamed[4]?.before?.['id']).toBe(11);
      expect(streamed[5]?.after).toEqual({ id: 12, n: null });
      const tombstones = run.records.filter(({ value }) => value === null);
      expect(tombstones.map(({ key }) => key?.['id'])).toEqual([11, 10]);
      const [first] = run.events(label('two'));
      expect(first?.source['lsn']).toBe(streamed[0]?.source['lsn']);
      const identities = run
        .events()
        .filter(({ op }) => op !== 'r')
        .map(identityOf);
      expect(new Set(identities).size).toBe(identities.length);
      await run.close();
    });

    it('carries a new column; a dropped table stops alone', async () => {
      await counterTable('grows', 1);
      await counterTable('goes', 1);
      const run = await open('ddl', ['grows', 'goes']);
      await streaming(run);
      await sql.run(
        'INSERT INTO grows VALUES (1, 1)',
        'ALTER TABLE grows ADD COLUMN more varchar(10)',
        "INSERT INTO grows VALUES (2, 2, 'x')",
        'DROP TABLE goes',
        "INSERT INTO grows VALUES (3, 3, 'y')",
      );
      await run.caughtUp(subject.config('ddl'));
      await run.until(() => run.events(label('grows')).length === 4, 'the last row');
      const rows = run.events(label('grows')).map(({ after: row }) => row);
      expect(rows).toEqual([
        { id: 0, n: 0 },
        { id: 1, n: 1 },
        { id: 2, n: 2, more: 'x' },
        { id: 3, n: 3, more: 'y' },
      ]);
      await run.until(
        () => run.progress().streams.some(({ phase }) => phase === 'stopped'),
        'the dropped table',
      );
      const states = run.progress().streams.map(({ phase, error }) => [phase, error?.code]);
      expect(states).toEqual([
        ['streaming', undefined],
        ['stopped', 'SRC_STREAM_GONE'],
      ]);
      await run.close();
    });

    it('misses and repeats nothing with writers during a copy, the first and a later one', async () => {
      await counterTable('busy', 1000);
      await counterTable('late', 1000);
      let writing = true;
      const writers = [1, 2].map(async (writer) => {
        const own = await subject.session();
        for (let i = 0; writing; i++) {
          const id = (i * 7 + writer) % 1000;
          await own.run(
            'BEGIN',
            `UPDATE busy SET n = n + 1 WHERE id = ${id}`,
            `UPDATE late SET n = n + 1 WHERE id = ${id}`,
            i % 5 === 0 ? `INSERT INTO busy VALUES (${1_000_000 * writer + i}, 1)` : 'SELECT 0',
            'COMMIT',
          );
        }
        await own.close();
      });
      const first = await open('handoff', ['busy']);
      await first.caughtUp(subject.config('handoff'));
      await first.close();
      const second = await open('handoff', ['busy', 'late'], after(first));
      await streaming(second);
      writing = false;
      await Promise.all(writers);
      await second.caughtUp(subject.config('handoff'));
      await second.close();
      const busy = [...first.events(label('busy')), ...second.events(label('busy'))];
      const late = second.events(label('late'));
      expect(tableOf(busy)).toEqual(await tableNow('busy'));
      expect(tableOf(late)).toEqual(await tableNow('late'));
      expect(miscounted(busy)).toEqual([]);
      expect(miscounted(late)).toEqual([]);
    });

    it('goes on from each committed state as if nothing had happened', async () => {
      const seed = Math.floor(Math.random() * 2 ** 31);
      console.log(`${name}: crashes by seed ${seed}`);
      const random = randomOf(seed);
      await counterTable('crashed', 20);
      let run = await open('crashes', ['crashed']);
      await streaming(run);
      const events: SeenEnvelope[] = [];
      const own = await subject.session();
      for (let crash = 0; crash < 6; crash++) {
        const changes = 1 + Math.floor(random() * 30);
        for (let i = 0; i < changes; i++) {
          const one = Math.floor(random() * 20);
          await own.run(
            ...['BEGIN', `UPDATE crashed SET n = n + 1 WHERE id = ${one}`],
            ...[`UPDATE crashed SET n = n + 1 WHERE id = ${(one + 7) % 20}`, 'COMMIT'],
          );
        }
        // What was taken behind the wanted state is lost with the process, acknowledged or not.
        const wanted = run.batches.length + Math.floor(random() * 3);
        run.acknowledging = random() < 0.5;
        await run.until(
          () => run.batches.length >= wanted || isAt(run, changes),
          'some of the batches',
        );
        await run.close();
        events.push(...run.events());
        run = await open('crashes', ['crashed'], after(run));
      }
      await run.caughtUp(subject.config('crashes'));
      await run.close();
      events.push(...run.events());
      expect(tableOf(events)).toEqual(await tableNow('crashed'));
      expect(miscounted(events)).toEqual([]);
      await own.close();
    });

    const isAt = (run: Run, changes: number): boolean => run.total >= changes * 2;

    it('sends again what was taken and not committed, and nothing that was', async () => {
      await counterTable('acked', 1);
      const first = await open('order', ['acked']);
      await streaming(first);
      await sql.run('INSERT INTO acked VALUES (1, 1)');
      await first.until(() => first.events().length === 2, 'the first row');
      const committed = first.state;
      first.acknowledging = false;
      await sql.run('INSERT INTO acked VALUES (2, 2)', 'INSERT INTO acked VALUES (3, 3)');
      await first.until(() => first.events().length === 4, 'the other rows');
      await first.close();
      const second = await open('order', ['acked'], {
        state: committed,
        registry: first.registry,
      });
      await second.caughtUp(subject.config('order'));
      await second.close();
      const told = (each: SeenEnvelope): string => `${identityOf(each)} ${plain(each.after)}`;
      expect(second.events().map(told)).toEqual(first.events().slice(2).map(told));
    });

    it('copies a stream anew when that is wanted, once', async () => {
      await counterTable('anew', 1);
      const first = await open('anew', ['anew']);
      await first.caughtUp(subject.config('anew'));
      await first.close();
      const again = { registry: first.registry, copy: 'wanted-1' };
      const second = await open('anew', ['anew'], { state: first.state, ...again });
      await streaming(second);
      await sql.run('UPDATE anew SET n = 7 WHERE id = 0');
      await second.caughtUp(subject.config('anew'));
      await second.close();
      const told = second.events().map(({ op, source }) => `${op}${source['epoch']}`);
      expect(told).toEqual(['t2', 'r2', 'u2']);
      expect(eachNewer(second.events())).toBe(true);
      const third = await open('anew', ['anew'], { state: second.state, ...again });
      await sql.run('INSERT INTO anew VALUES (2, 2)');
      await third.caughtUp(subject.config('anew'));
      await third.close();
      expect(third.events().map(({ op }) => op)).toEqual(['c']);
    });

    it('cuts a huge transaction and goes on behind what was committed of it', async () => {
      await sql.run('CREATE TABLE huge (id int PRIMARY KEY, n int, pad varchar(200))');
      const limits = { maxBufferedBytes: 64 * 1024 };
      const first = await open('huge', ['huge'], limits);
      await streaming(first);
      await sql.run(
        `INSERT INTO huge WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 900)
         SELECT i, i, repeat('x', 200) FROM s`,
        `INSERT INTO huge SELECT id + 1000, n, pad FROM huge`,
      );
      await first.until(
        () => first.batches.some(({ state }) => state?.details['chunk'] !== undefined),
        'a part of a transaction',
      );
      await first.close();
      // A copy that is made now commits before the rest of the transaction has come.
      await counterTable('beside', 1);
      const second = await open('huge', ['huge', 'beside'], { ...limits, ...after(first) });
      await second.until(() => second.events(label('beside')).length === 1, 'the copy');
      await second.close();
      const third = await open('huge', ['huge', 'beside'], { ...limits, ...after(second) });
      await third.caughtUp(subject.config('huge'));
      await third.close();
      const events = [first, second, third].flatMap((run) => run.events(label('huge')));
      expect(events.length).toBe(1800);
      expect(new Set(events.map(identityOf)).size).toBe(1800);
      expect(tableOf(events)).toEqual(await tableNow('huge'));
    });

    it('goes on after kill -9 of the server, and refuses a log that was lost', async () => {
      await counterTable('kept', 1);
      const first = await open('lost', ['kept']);
      await streaming(first);
      await sql.run('INSERT INTO kept VALUES (2, 2)');
      await first.until(() => first.events().length === 2, 'the row before');
      await subject.server.kill();
      expect(await first.failed()).toMatchObject({ code: 'SRC_CONNECTION_LOST' });
      await subject.server.restart();
      await sql.close();
      sql = await subject.session();
      await sql.run('INSERT INTO kept VALUES (3, 3)');
      const second = await open('lost', ['kept'], after(first));
      await second.caughtUp(subject.config('lost'));
      await second.until(() => second.events().length === 1, 'the row behind');
      expect(second.events()[0]).toMatchObject({ op: 'c', after: { id: 3 } });
      await second.close();
      await subject.loseLog(sql, subject.config('lost'));
      await expect(open('lost', ['kept'], after(second))).rejects.toMatchObject({
        code: subject.lostLog,
      });
    });
  });
}
