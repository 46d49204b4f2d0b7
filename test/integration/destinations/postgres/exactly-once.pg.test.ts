import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../connectors/spi/destination.ts';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import type { PostgresWriter } from '../../../../connectors/destinations/postgres/writer.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
  big: { kind: 'string', native: 'text' },
};
const SEED = Number(process.env['HEADRACE_TEST_SEED'] ?? Date.now() % 2 ** 31);

type Step =
  | { readonly kind: 'write' | 'touch'; readonly id: number; readonly text: string }
  | { readonly kind: 'delete'; readonly id: number }
  | { readonly kind: 'move'; readonly id: number; readonly to: number }
  | { readonly kind: 'truncate' | 'repeat' | 'hole' };

const id = fc.integer({ min: 1, max: 6 });
const text = fc.string({ maxLength: 4 }).map((s) => s.replaceAll('\0', ''));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), id, text }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('touch' as const), id, text }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move' as const), id, to: id }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('truncate' as const, 'repeat' as const, 'hole' as const),
    }),
  },
);

interface Row {
  readonly name: string;
  readonly big: string;
}

/** Plays steps as a source would have captured them, into a log and into a model of the table. */
class Play {
  readonly model = new Map<number, Row>();
  /** [id, is a delete] of each change. */
  readonly changes: [number, boolean][] = [];

  constructor(log: EventLog, steps: readonly Step[]) {
    for (const one of steps) this.apply(log, one);
  }

  private apply(log: EventLog, one: Step): void {
    const { model } = this;
    switch (one.kind) {
      case 'write': {
        const row = { name: one.text, big: `big ${one.text}` };
        const isNew = !model.has(one.id);
        if (isNew) log.create({ id: one.id, ...row });
        else log.update({ id: one.id, ...row });
        this.put(one.id, row);
        return;
      }
      case 'touch': {
        const old = model.get(one.id);
        if (old === undefined) return;
        log.update({ id: one.id, name: one.text }, { unchanged: ['big'] });
        this.put(one.id, { name: one.text, big: old.big });
        return;
      }
      case 'delete':
        if (model.has(one.id)) this.remove(log, one.id);
        return;
      case 'move': {
        const row = model.get(one.id);
        if (row === undefined || model.has(one.to)) return;
        this.remove(log, one.id);
        log.create({ id: one.to, ...row }, { lsn: log.lsn, seq: 1 });
        this.put(one.to, row);
        return;
      }
      case 'truncate':
        log.truncate();
        model.clear();
        return;
      case 'hole':
        log.skipOffsets(3);
        return;
      case 'repeat':
        // What a producer sends twice: the last records once more.
        if (log.stream.mode === 'append_dedup') log.repeat(Math.max(0, log.count - 2), log.count);
    }
  }

  private put(id_: number, row: Row): void {
    this.model.set(id_, row);
    this.changes.push([id_, false]);
  }

  private remove(log: EventLog, id_: number): void {
    log.delete({ id: id_ });
    this.model.delete(id_);
    this.changes.push([id_, true]);
  }
}

/** Writes the log in random pieces, sometimes from before what is applied, sometimes anew; mostly those
 * that it has said would come next. */
async function writeInPieces(target: TestTarget, log: EventLog, random: () => number) {
  let writer: PostgresWriter = target.writer();
  let next = (await writer.open(log.target)) ?? 0;
  const recordAt = (offset: number) => {
    const index = log.offsets.findIndex((o) => o >= offset);
    return index === -1 ? log.count : index;
  };
  let ahead: ChangeBatch | null = null;
  while (next < log.end) {
    if (random() < 0.15) {
      await writer.close();
      writer = target.writer();
      next = (await writer.open(log.target)) ?? 0;
    }
    const from = Math.max(0, recordAt(next) - (random() < 0.3 ? Math.floor(random() * 4) : 0));
    const to = Math.min(log.count, from + 1 + Math.floor(random() * 12));
    const isNext = ahead !== null && ahead.firstOffset === next && random() < 0.8;
    const batch: ChangeBatch = isNext ? (ahead as ChangeBatch) : log.batch(from, to);
    const then = recordAt(batch.nextOffset);
    const size = 1 + Math.floor(random() * 12);
    ahead = then === log.count ? null : log.batch(then, Math.min(log.count, then + size));
    const coming = ahead === null ? [] : [ahead];
    await writer.write([batch], () => coming);
    next = Math.max(next, writer.durableOffset(log.target));
  }
  await writer.close();
}

describe('any split of a log into batches, with repeats and restarts', () => {
  it('gives the table of the model', async () => {
    await using target = await newTarget(server);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 60 }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (steps, stream) => {
          const random = () => stream.next().value as number;
          const [table, history] = [`d${run}`, `a${run++}`];
          const kept = new EventLog(target.schemas, deduped(table), COLUMNS);
          const added = new EventLog(target.schemas, appended(history), COLUMNS);
          const { model } = new Play(kept, steps);
          const { changes } = new Play(added, steps);
          await writeInPieces(target, kept, random);
          await writeInPieces(target, added, random);
          const rows = await target.rows(`SELECT id, name, big FROM ${table} ORDER BY id`);
          expect(rows).toEqual(
            [...model].sort(([a], [b]) => a - b).map(([key, row]) => ({ id: key, ...row })),
          );
          const seen = await target.rows(
            `SELECT id, _ab_cdc_deleted_at IS NOT NULL AS deleted FROM ${history} ORDER BY _airbyte_ab_id`,
          );
          expect(seen.map(({ id: key, deleted }) => [key, deleted])).toEqual(changes);
        },
      ),
      { seed: SEED, numRuns: 25, endOnFailure: true },
    );
  });
});

describe('two instances on one partition', () => {
  it('the one that lost the partition is fenced, and its batch leaves no trace', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    for (let i = 0; i < 30; i++) log.create({ id: i, name: 'n' });
    const [zombie, owner] = [target.writer(), target.writer()];
    await zombie.open(log.target);
    await zombie.write([log.batch(0, 10)]);
    expect(await owner.open(log.target)).toBe(10);
    await owner.write([log.batch(10, 20)]);
    await expect(zombie.write([log.batch(10, 15)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    await expect(zombie.write([log.batch(20)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    await expect(owner.write([log.batch(25)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    await owner.write([log.batch(20)]);
    const [count] = await target.rows(
      'SELECT count(*)::int AS n, count(DISTINCT id)::int AS d FROM t',
    );
    expect(count).toEqual({ n: 30, d: 30 });
  });

  it('racing for the same batches, apply each offset once', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    for (let i = 0; i < 400; i++) log.create({ id: i, name: 'n' });
    const race = async () => {
      let fenced = 0;
      let writer = target.writer();
      let next = (await writer.open(log.target)) ?? 0;
      while (next < log.end) {
        try {
          await writer.write([log.batch(next, Math.min(log.count, next + 7))]);
          next = writer.durableOffset(log.target);
        } catch (error) {
          expect(error).toMatchObject({ code: 'SNK_FENCED' });
          fenced++;
          writer = target.writer();
          next = (await writer.open(log.target)) ?? 0;
        }
      }
      return fenced;
    };
    const fenced = await Promise.all([race(), race(), race()]);
    expect(fenced.reduce((a, b) => a + b)).toBeGreaterThan(0);
    const [count] = await target.rows(
      'SELECT count(*)::int AS n, count(DISTINCT id)::int AS d FROM t',
    );
    expect(count).toEqual({ n: 400, d: 400 });
  });
});

describe('connections that die at any moment', () => {
  it(`lose nothing and repeat nothing (seed ${SEED})`, async () => {
    await using target = await newTarget(server);
    const logs = [appended('a'), deduped('d')].map(
      (stream) => new EventLog(target.schemas, stream, COLUMNS),
    );
    for (const log of logs) {
      for (let i = 0; i < 3000; i++) log.create({ id: i, name: `n${i}` });
    }
    const writer = target.writer();
    for (const log of logs) await writer.open(log.target);
    let done = false;
    let kills = 0;
    const killer = (async () => {
      while (!done) {
        const [row] = await target.rows(
          `SELECT count(pg_terminate_backend(pid))::int AS n FROM pg_stat_activity
            WHERE datname=current_database() AND application_name='headrace' AND random() < 0.05`,
        );
        kills += Number(row?.['n']);
      }
    })();
    const batches = Array.from({ length: 120 }, (_, i) =>
      logs.map((log) => log.batch(i * 25, i * 25 + 25)),
    );
    for (const [i, batch] of batches.entries()) {
      await writer.write(batch, () => batches[i + 1] ?? []);
    }
    done = true;
    await killer;
    expect(kills).toBeGreaterThan(0);
    for (const table of ['a', 'd']) {
      const [count] = await target.rows(
        `SELECT count(*)::int AS n, count(DISTINCT id)::int AS d FROM ${table}`,
      );
      expect(count).toEqual({ n: 3000, d: 3000 });
    }
  });
});

describe('a commit whose answer is lost', () => {
  it.each(['destination.postgres.after_commit', 'destination.postgres.before_apply'])(
    'neither repeats nor skips, whatever batch comes next (%s)',
    async (failpoint) => {
      await using target = await newTarget(server);
      const log = new EventLog(target.schemas, appended('t'), COLUMNS);
      for (let i = 0; i < 30; i++) log.create({ id: i, name: 'n' });
      const writer = target.writer();
      await writer.open(log.target);
      armFailpoints({ failpoints: `${failpoint}=error`, failpointsAllowed: true });
      await expect(writer.write([log.batch(0, 10)])).rejects.toThrow(/failpoint/);
      await writer.write([log.batch(0, 20)]);
      armFailpoints({ failpoints: `${failpoint}=error`, failpointsAllowed: true });
      await expect(writer.write([log.batch(20)])).rejects.toThrow(/failpoint/);
      await writer.write([log.batch(20, 25)]);
      await writer.write([log.batch(25)]);
      const rows = await target.rows('SELECT id FROM t ORDER BY id');
      expect(rows).toEqual(Array.from({ length: 30 }, (_, i) => ({ id: i })));
      expect(writer.durableOffset(log.target)).toBe(log.end);
    },
  );
});

describe('batches without records', () => {
  it('move the durable offset at once and are stored with the flush', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create({ id: 1, name: 'n' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    const control = { ...log.batch(1), firstOffset: 1, nextOffset: 9 };
    await writer.write([control]);
    expect(writer.durableOffset(log.target)).toBe(9);
    await writer.flush();
    expect(await target.rows('SELECT next_offset FROM _headrace_offsets')).toEqual([
      { next_offset: '9' },
    ]);
    expect(await target.writer().open(log.target)).toBe(9);
  });
});
