import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { startHeadrace, type HeadraceProcess } from '../../deploy/local/headrace.ts';
import { freePort } from '../../deploy/local/free-port.ts';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

/** An instance that is stopped for longer than its lease, while another one takes over, and goes on. */
describe('a zombie', () => {
  const rigs: Rig[] = [];
  const others: HeadraceProcess[] = [];
  afterAll(async () => {
    await Promise.all(others.map((each) => each.kill()));
    for (const rig of rigs) await rig[Symbol.asyncDispose]();
  });

  it(
    'SP-02, SI-02: of source or sink changes nothing, and gives way',
    { timeout: 240_000 },
    async () => {
      const rig = await startRig({
        roles: ['api', 'scheduler', 'source', 'sink'],
        sourceSettings: { wal_sender_timeout: '10s' },
      });
      rigs.push(rig);
      await query(rig.source, 'create table t (k int primary key, v int not null)');
      await query(rig.source, 'insert into t select k, 0 from generate_series(1, 50) k');
      const connection = await connect(rig);
      expect(await sync(rig, connection)).toMatchObject({ job: { status: 'succeeded' } });
      for (const role of ['source', 'sink'] as const) {
        const old = rig.processes.get(role) as HeadraceProcess;
        others.push(await second(rig, role));
        const load = setInterval(() => void bump(rig).catch(() => undefined), 25);
        try {
          await until('changes', async () => (await bump(rig)) > 20);
          process.kill(old.pid, 'SIGSTOP');
          const stopped = Date.now();
          const version = await bump(rig);
          await until(`the other ${role}`, async () => (await targetVersion(rig)) >= version);
          expect(Date.now() - stopped, 'fail-over time').toBeLessThan(30_000);
        } finally {
          process.kill(old.pid, 'SIGCONT');
          clearInterval(load);
        }
        // Awake again it learns from Kafka, from the destination or from its lease that it is replaced.
        await until(`${role} to give way`, async () => gaveWay(rig, old, role));
        expect(await sync(rig, connection)).toMatchObject({ job: { status: 'succeeded' } });
        const columns = await columnsOf(rig.source, 't');
        expect(await digest(rig.target, 't', columns)).toEqual(
          await digest(rig.source, 't', columns),
        );
        expect(await reappliedRows(rig)).toBe(0);
      }
    },
  );
});

async function connect(rig: Rig): Promise<string> {
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const target = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const history = await createDestination(rig, 'postgres', {
    ...postgresConfig(rig.target),
    schema: 'history',
  });
  await query(rig.target, 'create schema history');
  await createConnection(rig, sourceId, history, () => 'append');
  return createConnection(rig, sourceId, target, () => 'append_dedup');
}

async function second(rig: Rig, role: 'source' | 'sink'): Promise<HeadraceProcess> {
  return startHeadrace({
    home: `${rig.folder}/second`,
    apiPort: await freePort(),
    brokers: `127.0.0.1:${rig.kafka.port}`,
    role,
    environment: {
      HEADRACE_STORE_URL: `postgres://postgres@127.0.0.1:${rig.target.port}/headrace_store`,
    },
  });
}

async function bump(rig: Rig): Promise<number> {
  const [row] = await query<{ v: number }>(
    rig.source,
    'update t set v = v + 1 where k = 1 returning v',
  );
  return row?.v ?? 0;
}

async function targetVersion(rig: Rig): Promise<number> {
  const [row] = await query<{ v: number }>(rig.target, 'select v from public.t where k = 1');
  return row?.v ?? 0;
}

/** Ended with the code of its fence, or no longer the owner of any lease. */
async function gaveWay(rig: Rig, old: HeadraceProcess, role: string): Promise<boolean> {
  const log = readFileSync(old.log, 'utf8');
  if (log.includes(role === 'source' ? 'KAFKA_FENCED' : 'SNK_FENCED')) return true;
  const client = await connectTo(rig.target, 'headrace_store');
  try {
    const { rows } = await client.query<{ owner: string }>('select owner from headrace.lease');
    return !rows.some(({ owner }) => owner.includes(`-${old.pid}-`));
  } finally {
    await client.end();
  }
}

/** Versions of row 1 that the table of all changes holds more than once. */
async function reappliedRows(rig: Rig): Promise<number> {
  const [row] = await query<{ n: number }>(
    rig.target,
    'select (count(*) - count(distinct v))::int as n from history.t where k = 1',
  );
  return row?.n ?? 0;
}
