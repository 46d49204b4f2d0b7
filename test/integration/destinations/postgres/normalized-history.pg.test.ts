import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { ACME, CLASSIC_CDC, CLASSIC_EVENT, columnsOf, CUSTOMERS, PLACE } from './customers.ts';
import { deduped, EventLog } from './event-log.ts';
import { newTarget, writeLog } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const WITH_SCD = { config: { normalization: { option: 'classic', scd: true } } };

const VERSIONS = `SELECT name, _airbyte_active_row AS active, _ab_cdc_deleted_at IS NOT NULL AS deleted,
    extract(epoch from _airbyte_start_at)::int AS from, extract(epoch from _airbyte_end_at)::int AS until
  FROM customers_scd WHERE id = 1 ORDER BY _headrace_epoch, _ab_cdc_lsn`;

function at(second: number) {
  return { lsn: BigInt(second), tsUs: BigInt(second) * 1_000_000n };
}

describe('the history of classic rows', () => {
  it('has the columns of the classic step, in its order', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    expect(await columnsOf(target, 'customers_scd')).toEqual([
      '_airbyte_unique_key text',
      '_airbyte_unique_key_scd text',
      'id bigint',
      'name text',
      'contact jsonb',
      'addresses jsonb',
      ...CLASSIC_CDC,
      '_airbyte_start_at timestamptz',
      '_airbyte_end_at timestamptz',
      '_airbyte_active_row integer',
      ...CLASSIC_EVENT,
      '_airbyte_customers_hashid text',
      ...PLACE,
    ]);
    expect(
      await target.rows(
        `SELECT s._airbyte_unique_key = c._airbyte_unique_key AS same, length(_airbyte_unique_key_scd) AS n,
           s.contact = c.contact AS documents, s._airbyte_ab_id = c._airbyte_ab_id AS event
         FROM customers_scd s JOIN customers c USING (id)`,
      ),
    ).toEqual([{ same: true, n: 32, documents: true, event: true }]);
  });

  it('keeps every version, within a batch and across batches, deletes among them', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create({ ...ACME, name: 'a' }, at(200));
    log.update({ ...ACME, name: 'b' }, at(210));
    log.create({ ...ACME, id: 2 }, at(215));
    await writeLog(target, log);
    log.update({ ...ACME, name: 'c' }, at(220));
    await writeLog(target, log, 3);
    const before = [
      { name: 'a', active: 0, deleted: false, from: 200, until: 210 },
      { name: 'b', active: 0, deleted: false, from: 210, until: 220 },
    ];
    expect(await target.rows(VERSIONS)).toEqual([
      ...before,
      { name: 'c', active: 1, deleted: false, from: 220, until: null },
    ]);
    log.delete({ id: 1 }, at(230));
    await writeLog(target, log, 4);
    const deleted = [
      ...before,
      { name: 'c', active: 0, deleted: false, from: 220, until: 230 },
      { name: null, active: 0, deleted: true, from: 230, until: null },
    ];
    expect(await target.rows(VERSIONS)).toEqual(deleted);
    // What comes again, under a new offset, is there already.
    const again = log.count;
    log.repeat(0, 2);
    await writeLog(target, log, again);
    expect(await target.rows(VERSIONS)).toEqual(deleted);
    log.create({ ...ACME, name: 'd' }, at(240));
    await writeLog(target, log, again + 2);
    const late = log.count;
    log.repeat(4, 5);
    await writeLog(target, log, late);
    expect((await target.rows(VERSIONS)).at(-1)).toMatchObject({ name: 'd', active: 1 });
    log.truncate(at(250));
    log.create({ ...ACME, name: 'e' }, at(260));
    await writeLog(target, log, late + 1);
    expect((await target.rows(VERSIONS)).slice(3)).toEqual([
      { name: null, active: 0, deleted: true, from: 230, until: 240 },
      { name: 'd', active: 0, deleted: false, from: 240, until: 250 },
      { name: 'e', active: 1, deleted: false, from: 260, until: null },
    ]);
    expect(
      await target.rows(
        `SELECT (SELECT count(*)::int FROM customers) AS rows,
           (SELECT count(*)::int FROM customers_scd WHERE _airbyte_active_row = 1) AS active`,
      ),
    ).toEqual([{ rows: 1, active: 1 }]);
  });

  it('is the same after a crash, a batch delivered twice, and a change of columns', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create({ ...ACME, name: 'a' }, at(200));
    log.update({ ...ACME, name: 'b' }, at(210));
    for (const point of ['rows_applied', 'after_commit']) {
      const writer = target.writer({ limits: { retryForMs: 0 } });
      await writer.open(log.target);
      const failpoints = `destination.postgres.${point}=error`;
      armFailpoints({ failpoints, failpointsAllowed: true });
      await expect(writer.write([log.batch()])).rejects.toThrow();
      armFailpoints({ failpoints: null, failpointsAllowed: false });
    }
    await writeLog(target, log);
    const versions = [
      { name: 'a', active: 0, deleted: false, from: 200, until: 210 },
      { name: 'b', active: 1, deleted: false, from: 210, until: null },
    ];
    expect(await target.rows(VERSIONS)).toEqual(versions);
    log.evolve({ ...CUSTOMERS, rank: { kind: 'int32' } });
    log.update({ ...ACME, name: 'c', rank: 5 }, at(220));
    await writeLog(target, log, 2);
    expect(await target.rows('SELECT name, rank::int FROM customers_scd ORDER BY name')).toEqual([
      { name: 'a', rank: null },
      { name: 'b', rank: null },
      { name: 'c', rank: 5 },
    ]);
  });

  it('stays ended where a truncate or a lone tombstone ended it, when all comes again', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create({ ...ACME, name: 'a' }, at(200));
    log.truncate(at(210));
    log.create({ ...ACME, id: 2 }, at(220));
    await writeLog(target, log);
    log.tombstone({ id: 2 });
    await writeLog(target, log, 3);
    const ended = `SELECT id::int, _airbyte_active_row AS active, _airbyte_end_at IS NULL AS is_open
      FROM customers_scd ORDER BY id`;
    const expected = [
      { id: 1, active: 0, is_open: false },
      { id: 2, active: 0, is_open: false },
    ];
    expect(await target.rows(ended)).toEqual(expected);
    const writer = target.writer();
    const order = { id: 'r', from: 0, until: log.end, rebuild: false };
    await writer.open({ ...log.target, replay: order });
    for (let i = 0; i < log.count; i++) {
      await writer.write([log.batch(i, i + 1)]);
      expect(await target.rows(ended)).toEqual(expected);
    }
    expect(await target.rows('SELECT * FROM customers')).toEqual([]);
  });

  it('begins versions when they were written where the source tells no time', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    for (const name of ['a', 'b']) log.update({ ...ACME, name }, { tsUs: 0n });
    await writeLog(target, log);
    expect(
      await target.rows(
        `SELECT name, _airbyte_start_at = _airbyte_emitted_at AS written, _airbyte_end_at IS NULL AS is_open
         FROM customers_scd ORDER BY name`,
      ),
    ).toEqual([
      { name: 'a', written: true, is_open: false },
      { name: 'b', written: true, is_open: true },
    ]);
  });

  it('is not mixed with a table of somebody else, and begins when it is switched on', async () => {
    await using target = await newTarget(server, { config: { normalization: 'classic' } });
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create({ ...ACME, name: 'a' }, at(200));
    await writeLog(target, log);
    target.config['normalization'] = WITH_SCD.config.normalization;
    await target.sql.query('CREATE TABLE customers_scd (id int)');
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_FOREIGN',
      message: expect.stringContaining('customers_scd') as unknown,
    });
    await target.sql.query('DROP TABLE customers_scd');
    log.update({ ...ACME, name: 'b' }, at(210));
    await writeLog(target, log, 1);
    expect(await target.rows(VERSIONS)).toEqual([
      { name: 'b', active: 1, deleted: false, from: 210, until: null },
    ]);
  });
});
