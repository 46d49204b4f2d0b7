import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, overwritten, type Columns } from './event-log.ts';
import { newTarget, writeLog, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
  note: { kind: 'string', native: 'text' },
  doc: { kind: 'json', native: 'jsonb' },
};
const FITS = { name: 'fine', note: 'x', doc: '{"a": 1, "list": [{"k": 1}]}' };

const nulled = (field: string) => ({
  field,
  change: 'NULLED',
  reason: 'DESTINATION_SERIALIZATION_ERROR',
});
const RULES = ['basic', 'classic', 'v2'] as const;
const RAW = { basic: '_airbyte_raw_t', classic: '_airbyte_raw_t', v2: '' };

function configOf(option: string) {
  return { config: { normalization: { option }, raw_data_schema: 'public' } };
}

async function rawOf(target: TestTarget, rules: (typeof RULES)[number]): Promise<string> {
  if (rules !== 'v2') return RAW[rules];
  const [found] = await target.rows(
    `SELECT relname FROM pg_class WHERE relkind='r' AND relname LIKE '%\\_raw\\_%stream\\_t'`,
  );
  return String(found?.['relname']);
}

describe('a value that no table of a normalized stream can hold', () => {
  it.each(
    RULES.flatMap((rules) =>
      [appended('t'), deduped('t'), overwritten('t')].map((s) => [rules, s.mode, s] as const),
    ),
  )('is NULL and recorded in row and document: %s, %s', async (rules, mode, stream) => {
    await using target = await newTarget(server, configOf(rules));
    const log = new EventLog(target.schemas, stream, COLUMNS);
    if (mode === 'overwrite') log.truncate({ snapshot: 'true' });
    log.create({ id: 1, ...FITS });
    log.create({ id: 2, ...FITS, name: 'secret\u0000' });
    log.create({ id: 3, ...FITS, doc: '{"a": "\\u0000", "list": [{"k": 2}]}' });
    log.create({ id: 4, ...FITS });
    if (mode === 'overwrite') log.endGeneration(0);
    await writeLog(target, log);
    const none = rules === 'v2' ? { changes: [] } : null;
    expect(
      await target.rows('SELECT id::int, name, _airbyte_meta AS meta FROM t ORDER BY 1'),
    ).toEqual([
      { id: 1, name: 'fine', meta: none },
      { id: 2, name: null, meta: { changes: [nulled('name')] } },
      { id: 3, name: 'fine', meta: { changes: [nulled('doc')] } },
      { id: 4, name: 'fine', meta: none },
    ]);
    const raw = await rawOf(target, rules);
    expect(
      await target.rows(
        `SELECT _airbyte_data->>'name' AS name, _airbyte_data->'doc' AS doc, _airbyte_meta AS meta
         FROM ${raw} ORDER BY _airbyte_data->'id'`,
      ),
    ).toEqual([
      { name: 'fine', doc: JSON.parse(FITS.doc), meta: none },
      { name: null, doc: JSON.parse(FITS.doc), meta: { changes: [nulled('name')] } },
      { name: 'fine', doc: null, meta: { changes: [nulled('doc')] } },
      { name: 'fine', doc: JSON.parse(FITS.doc), meta: none },
    ]);
    if (rules === 'basic') {
      // The rows of a document that is NULL are not there either.
      const [list] = await target.rows(
        `SELECT relname FROM pg_class WHERE relkind='r' AND relname LIKE 't\\_%\\_list'`,
      );
      expect(
        await target.rows(`SELECT k::int AS k FROM ${String(list?.['relname'])} ORDER BY 1`),
      ).toEqual([1, 1, 1].map((k) => ({ k })));
    }
    expect(target.nulled).toEqual([['public.t', { name: 1, doc: 1 }]]);
  });

  it.each(RULES)(
    'is forgotten with one that fits, and kept where others are sent: %s',
    async (rules) => {
      await using target = await newTarget(server, configOf(rules));
      const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
      const writer = target.writer();
      await writer.open(log.target);
      const meta = async () =>
        (await target.rows('SELECT _airbyte_meta AS meta FROM t'))[0]?.['meta'];
      log.create({ id: 1, ...FITS, name: '\u0000', note: '\u0000' });
      await writer.write([log.batch(0)]);
      expect(await meta()).toEqual({ changes: [nulled('name'), nulled('note')] });
      log.update({ id: 1, ...FITS }, { unchanged: ['name'] });
      log.update({ id: 1, ...FITS }, { unchanged: ['name', 'note'] });
      await writer.write([log.batch(1)]);
      expect(await meta()).toEqual({ changes: [nulled('name')] });
      expect(await target.rows('SELECT name, note FROM t')).toEqual([{ name: null, note: 'x' }]);
      log.update({ id: 1, ...FITS });
      await writer.write([log.batch(3)]);
      expect(await meta()).toEqual(rules === 'v2' ? { changes: [] } : null);
      expect(await target.rows('SELECT name, note FROM t')).toEqual([{ name: 'fine', note: 'x' }]);
    },
  );
});

describe('a value that the row cannot hold and the document can', () => {
  it.each(RULES)('is in the document as it is: %s', async (rules) => {
    await using target = await newTarget(server, configOf(rules));
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    await target.sql.query('ALTER TABLE t ALTER COLUMN note TYPE varchar(3)');
    log.create({ id: 1, ...FITS });
    log.create({ id: 2, ...FITS, note: 'long' });
    await writer.write([log.batch()]);
    const change = { field: 'note', change: 'NULLED', reason: 'DESTINATION_FIELD_SIZE_LIMITATION' };
    const meta = '_airbyte_meta AS meta';
    expect(await target.rows(`SELECT note, ${meta} FROM t WHERE id=2`)).toEqual([
      { note: null, meta: { changes: [change] } },
    ]);
    const raw = await rawOf(target, rules);
    expect(
      await target.rows(
        `SELECT _airbyte_data->>'note' AS note, ${meta} FROM ${raw} ORDER BY _airbyte_data->'id'`,
      ),
    ).toEqual([
      { note: 'x', meta: rules === 'v2' ? { changes: [] } : null },
      { note: 'long', meta: rules === 'v2' ? { changes: [] } : null },
    ]);
  });
});

describe('a value that only a document would hold', () => {
  it('is null in the raw table of a stream that has no other', async () => {
    await using target = await newTarget(server, configOf('none'));
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create({ id: 1, ...FITS });
    await writeLog(target, log);
    log.create({ id: 2, ...FITS, name: '\u0000' });
    log.create({ id: 3, ...FITS });
    await writeLog(target, log, 1);
    expect(
      await target.rows(
        `SELECT _airbyte_data->>'name' AS name, _airbyte_meta AS meta FROM _airbyte_raw_t
         ORDER BY _airbyte_data->'id'`,
      ),
    ).toEqual([
      { name: 'fine', meta: null },
      { name: null, meta: { changes: [nulled('name')] } },
      { name: 'fine', meta: null },
    ]);
  });

  it('is NULL in the versions of a row, too', async () => {
    await using target = await newTarget(server, {
      config: { normalization: { option: 'classic', scd: true } },
    });
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1, ...FITS });
    await writeLog(target, log);
    log.update({ id: 1, ...FITS, name: '\u0000' });
    log.update({ id: 1, ...FITS, note: 'y' });
    await writeLog(target, log, 1);
    expect(
      await target.rows(`SELECT name, note, _airbyte_meta AS meta FROM t_scd ORDER BY _ab_cdc_lsn`),
    ).toEqual([
      { name: 'fine', note: 'x', meta: null },
      { name: null, note: 'x', meta: { changes: [nulled('name')] } },
      { name: 'fine', note: 'y', meta: null },
    ]);
  });
});
