import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query, sync, until, type Rig } from '../support/rig.ts';
import { runCell, siteFor } from './matrix-cell.ts';
import { POINTS, type Action } from './matrix-points.ts';
import { startMatrixRig } from './matrix-run.ts';
import type { Site } from './matrix-site.ts';

/** A few cells of `npm run matrix`, which goes through all of them. */
const SAMPLE: readonly (readonly [name: string, action: Action])[] = [
  ['kafka.produced_partly', 'error'],
  ['kafka.commit_sent', 'kill'],
  ['destination.postgres.offset_stored', 'kill'],
  ['destination.postgres.commit_sent', 'error'],
  ['s3.after_claim', 'delay'],
];

describe('faults at named steps', () => {
  let rig: Rig;
  let site: Site;
  const sites: Site[] = [];

  beforeAll(async () => {
    rig = await startMatrixRig();
    site = await siteFor(rig, 'sample', 'changes');
    sites.push(site);
  }, 240_000);

  afterAll(async () => {
    for (const each of sites) await each[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  it.each(SAMPLE)('SP-01, SI-01: %s=%s', { timeout: 400_000 }, async (name, action) => {
    const point = POINTS.find((each) => each.name === name);
    expect((await runCell(site, point as (typeof POINTS)[number], action)).problems).toEqual([]);
  });

  it('PG-21: a first copy killed in the middle', { timeout: 400_000 }, async () => {
    const point = POINTS.find(({ name }) => name === 'source.snapshot_chunk');
    const fresh = await siteFor(rig, 'copied', 'copy');
    sites.push(fresh);
    const { problems } = await runCell(fresh, point as (typeof POINTS)[number], 'kill');
    expect(problems).toEqual([]);
  });

  it(
    'SP-03, KA-06, KA-10: instances that start at once, come and go',
    { timeout: 400_000 },
    async () => {
      await deleteConsumerGroups(rig);
      const both = await Promise.all([site.start(), site.start()]);
      const holders = async (): Promise<number[]> =>
        Promise.all(both.map((each) => site.leasesOf(each)));
      await until(
        'one worker for each unit',
        async () => (await holders()).reduce((a, b) => a + b) === 4,
      );
      for (let round = 0; round < 3; round++) {
        const [first, second] = both as [(typeof both)[0], (typeof both)[0]];
        const version = await site.write();
        await first.kill();
        await until(
          'the other to take over',
          async () => (await site.versionInMirror()) >= version,
          120_000,
        );
        both.splice(0, 2, second, await site.start());
      }
      const { mirror, history, lake } = site.connections as NonNullable<Site['connections']>;
      for (const id of [mirror, history, lake]) {
        await until(
          'a barrier',
          async () => {
            const driver = site.driver(both[0] as (typeof both)[0]);
            return (await sync(driver, id)).job.status === 'succeeded';
          },
          120_000,
        );
      }
      expect(await site.differences()).toEqual([]);
      for (const each of both) expect(await each.stop()).toBe(0);
      const slots = await query(
        rig.source,
        `select 1 from pg_replication_slots where slot_name = 'sample'`,
      );
      expect(slots).toHaveLength(1);
    },
  );
});

/** Where delivery stands is the destination's to say: groups may go at any time. */
async function deleteConsumerGroups({ kafka }: Rig): Promise<void> {
  const admin = new Kafka({ brokers: [kafka.url], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const { groups } = await admin.listGroups();
    if (groups.length > 0) await admin.deleteGroups(groups.map(({ groupId }) => groupId));
  } finally {
    await admin.disconnect();
  }
}
