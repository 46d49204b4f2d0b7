import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { deduped, EventLog, overwritten, type Columns } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = { id: { kind: 'int32' }, doc: { kind: 'json' } };
const ITEM = { basic: 't_doc_items', classic: 't_doc_items' } as const;

describe.each(Object.keys(ITEM) as (keyof typeof ITEM)[])(
  '%s tables beside the live ones',
  (rules) => {
    const config = { normalization: { option: rules, scd: rules === 'classic' } };
    const items = `SELECT v, w FROM ${ITEM[rules]} ORDER BY v`;

    it('take a field that changes its type within a copy', async () => {
      await using target = await newTarget(server, { config });
      const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
      const writer = target.writer();
      await writer.open(log.target);
      log.beginGeneration(1);
      log.copied({ id: 1, doc: '{"items": [{"v": 1}]}' }, 1);
      await writer.write([log.batch()]);
      const rest = log.count;
      log.copied({ id: 2, doc: '{"items": [{"v": "x", "w": true}]}' }, 1);
      log.endGeneration(1);
      await writer.write([log.batch(rest)]);
      expect(await target.rows(items)).toEqual([
        { v: '1', w: null },
        { v: 'x', w: true },
      ]);
    });

    it('take it within a rebuild', async () => {
      await using target = await newTarget(server, { config });
      const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
      log.create({ id: 1, doc: '{"items": [{"v": 1}]}' });
      const first = target.writer();
      await first.open(log.target);
      await first.write([log.batch()]);
      log.create({ id: 2, doc: '{"items": [{"v": "x", "w": true}]}' });
      log.create({ id: 3, doc: null });
      const writer = target.writer();
      await writer.open({
        ...log.target,
        replay: { id: 'r', from: 0, until: log.end, rebuild: true },
      });
      for (let i = 0; i < log.count; i++) await writer.write([log.batch(i, i + 1)]);
      expect(await target.rows(items)).toEqual([
        { v: '1', w: null },
        { v: 'x', w: true },
      ]);
    });
  },
);
