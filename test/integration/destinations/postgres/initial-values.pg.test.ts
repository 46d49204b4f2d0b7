import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, writeLog } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const BEFORE: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
};
const AFTER: Columns = {
  ...BEFORE,
  level: { kind: 'int32', native: 'integer' },
  note: { kind: 'string', native: 'text' },
  doc: { kind: 'json', native: 'jsonb' },
};
const DOC = '{"a": {"b": "x"}, "n": 1.50, "list": [1, 2]}';
const INITIAL = {
  level: { text: '7', avro: Buffer.from([14]).toString('base64') },
  note: { text: 'old', avro: Buffer.from('\u0006old').toString('base64') },
  doc: { text: DOC, avro: Buffer.from(`\u0058${DOC}`).toString('base64') },
};

const OLD = { level: 7, note: 'old', doc_a_b: 'x', doc_n: '1.50', doc_list: [1, 2] };
const NONE = { level: null, note: null, doc_a_b: null, doc_n: null, doc_list: null };

describe('flat rows of the time before a column', () => {
  it('have the value that the source gave them', async () => {
    await using target = await newTarget(server, { config: { normalization: 'basic' } });
    const log = new EventLog(target.schemas, deduped('t'), BEFORE);
    log.create({ id: 1, name: 'delivered before the column' });
    log.create({ id: 2, name: 'delivered before, updated after' });
    await writeLog(target, log);
    const late = log.count;
    log.create({ id: 3, name: 'captured before, delivered after' });
    log.evolve(AFTER, INITIAL);
    log.update({ id: 2, name: 'updated after', level: 8, note: null }, { unchanged: ['doc'] });
    log.create({ id: 4, name: 'created after' });
    await writeLog(target, log, late);
    const rows = await target.rows(
      'SELECT id, level, note, doc_a_b, doc_n::text, doc_list FROM t ORDER BY id',
    );
    expect(rows).toEqual([
      { id: 1, ...OLD },
      { id: 2, ...OLD, level: 8, note: null },
      { id: 3, ...OLD },
      { id: 4, ...NONE },
    ]);
  });

  it('would need child rows: that is refused by name', async () => {
    await using target = await newTarget(server, { config: { normalization: 'basic' } });
    const log = new EventLog(target.schemas, deduped('t'), BEFORE);
    log.create({ id: 1, name: 'a' });
    await writeLog(target, log);
    const text = '[{"k": 1}]';
    const avro = Buffer.from(`\u0014${text}`).toString('base64');
    log.evolve(AFTER, { doc: { text, avro } });
    log.create({ id: 2, name: 'b' });
    const writer = target.writer();
    await expect(writer.open(log.target)).rejects.toMatchObject({
      code: 'DST_SCHEMA_INCOMPATIBLE',
      details: { column: 'doc' },
    });
  });
});
