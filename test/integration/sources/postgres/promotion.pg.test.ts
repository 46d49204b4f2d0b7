import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LocalServer } from '../../../../deploy/local/local-server.ts';
import { startPostgres } from '../../../../deploy/local/postgres.ts';
import { reachableData } from '../../../../deploy/local/reachable-folder.ts';
import { serverUser } from '../../../../deploy/local/server-user.ts';
import { postgresContext } from '../../../support/contexts.ts';
import { configOf, Run, sqlClient } from './capture-harness.ts';

const STREAMS = { streams: ['t'] };

/** A physical standby, made from a copy of the primary at rest, as a backup tool would leave it:
 * without the primary's slots. */
async function standbyOf(primary: LocalServer): Promise<LocalServer & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-standby-'));
  chmodSync(folder, 0o755);
  const data = reachableData(folder, serverUser());
  await primary.stop();
  rmSync(data, { recursive: true, force: true });
  execFileSync('cp', ['-a', realpathSync(join(primary.folder, 'data')), data]);
  await primary.restart();
  const slots = join(data, 'pg_replslot');
  for (const name of readdirSync(slots)) rmSync(join(slots, name), { recursive: true });
  writeFileSync(join(data, 'standby.signal'), '');
  const server = await startPostgres({
    folder,
    settings: {
      fsync: 'off',
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
      primary_slot_name: 'standby',
      hot_standby_feedback: 'on',
      sync_replication_slots: 'on',
    },
  });
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server.kill();
      rmSync(data, { recursive: true, force: true });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Asks the server itself until it says yes. */
async function untilTrue(server: LocalServer, question: string): Promise<void> {
  const sql = await sqlClient(server);
  try {
    await sql.query(`DO $$ BEGIN
      FOR i IN 1..1200 LOOP
        PERFORM pg_stat_clear_snapshot();
        IF (${question}) THEN RETURN; END IF;
        PERFORM pg_sleep(0.05);
      END LOOP;
      RAISE 'still not so after a minute: %', $q$${question}$q$;
    END $$`);
  } finally {
    await sql.end();
  }
}

/** The primary ends, having sent everything to the standby, which takes its place. */
async function failOver(primary: LocalServer, standby: LocalServer): Promise<void> {
  await primary.stop();
  const sql = await sqlClient(standby);
  await sql.query('SELECT pg_promote()');
  await sql.end();
}

async function primaryWithTable(slot: string): Promise<LocalServer & AsyncDisposable> {
  const primary = await postgresContext();
  const sql = await sqlClient(primary);
  await sql.query(slot);
  await sql.query(`SELECT pg_create_physical_replication_slot('standby', true)`);
  await sql.query('CREATE TABLE t (id int PRIMARY KEY)');
  await sql.end();
  return primary;
}

const insert = async (server: LocalServer, id: number): Promise<void> => {
  const sql = await sqlClient(server);
  await sql.query('INSERT INTO t VALUES ($1)', [id]);
  await sql.end();
};

const ids = (run: Run) => run.events().map(({ after }) => after?.['id']);

describe('a standby takes the place of its primary (PG-06)', () => {
  it('stops where the standby never had the slot, and a new slot of that name does not help', async () => {
    await using primary = await primaryWithTable('SELECT 1');
    const first = await Run.open(configOf(primary), STREAMS);
    await first.caughtUp(configOf(primary));
    await first.close();
    await using standby = await standbyOf(primary);
    await insert(primary, 1);
    await failOver(primary, standby);
    await insert(standby, 2);
    const goOn = Run.open(configOf(standby), { ...STREAMS, state: first.state });
    await expect(goOn).rejects.toMatchObject({ code: 'SRC_IDENTITY_CHANGED' });
    const sql = await sqlClient(standby);
    await sql.query(`SELECT pg_create_logical_replication_slot('headrace', 'pgoutput')`);
    await sql.end();
    const withNewSlot = Run.open(configOf(standby), { ...STREAMS, state: first.state });
    await expect(withNewSlot).rejects.toMatchObject({ code: 'SRC_IDENTITY_CHANGED' });
  }, 120_000);

  it('goes on at the same change where the slot is a failover slot and came along', async () => {
    await using primary = await primaryWithTable(
      `SELECT pg_create_logical_replication_slot('headrace', 'pgoutput', false, false, true)`,
    );
    const first = await Run.open(configOf(primary), STREAMS);
    await first.caughtUp(configOf(primary));
    await using standby = await standbyOf(primary);
    await first.failed();
    const before = await Run.open(configOf(primary), { ...STREAMS, state: first.state });
    await insert(primary, 1);
    await before.until(() => before.total === 1, 'the first row');
    await untilTrue(
      standby,
      `SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = 'headrace' AND synced AND NOT temporary`,
    );
    await before.close();
    await insert(primary, 2);
    await failOver(primary, standby);
    await insert(standby, 3);
    const after = await Run.open(configOf(standby), { ...STREAMS, state: before.state });
    await after.caughtUp(configOf(standby));
    expect([...ids(before), ...ids(after)]).toEqual([1, 2, 3]);
    await after.close();
  }, 120_000);
});
