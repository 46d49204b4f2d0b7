import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Stage, STREAM as stream } from './scheduler-stage.ts';
import { documentOf, embeddedStore, seedConnection } from './store-fixture.ts';

let opened: Awaited<ReturnType<typeof embeddedStore>>;
let stage: Stage;
let ids: Awaited<ReturnType<typeof seedConnection>>;

beforeAll(async () => void (opened = await embeddedStore()), 60_000);
afterAll(() => opened[Symbol.asyncDispose]());
beforeEach(async () => {
  stage = new Stage(opened.store);
  ids = await seedConnection(opened.store);
});
afterEach(async () => {
  await stage.stop();
  await opened.store.connections.remove(ids.connectionId);
  // A new source would wait for the clean-up of the one before.
  for (const { id } of await opened.store.cleanups.due()) await opened.store.cleanups.done(id);
});

const eventually = { timeout: 30_000, interval: 20 };

describe('a clean-up that comes late', () => {
  it('leaves alone what another source runs on by now', async () => {
    const { store } = stage;
    const released: string[] = [];
    stage.fake.release = ({ sourceId }) => Promise.resolve(void released.push(sourceId));
    const slot = { host: 'db', slot: 'headrace on db' };
    await store.actors.update(ids.sourceId, { name: 'old', configuration: slot });
    const other = await seedConnection(store);
    await store.actors.update(other.sourceId, { name: 'new', configuration: slot });
    await stage.sourceSays(other, {});
    await store.connections.remove(ids.connectionId);
    stage.startScheduler();
    await expect.poll(() => store.cleanups.pendingFor(ids.sourceId), eventually).toBeNull();
    expect(released).toEqual([]);
    await store.connections.remove(other.connectionId);
    await expect.poll(() => store.cleanups.pendingFor(other.sourceId), eventually).toBeNull();
    expect(released).toEqual([other.sourceId]);
  });

  it('holds back a source that has never run only while it is being tried', async () => {
    const { store } = stage;
    const other = await seedConnection(store);
    await store.connections.remove(ids.connectionId);
    const isWanted = async () =>
      (await store.work.listWork()).sources.some((each) => each.sourceId === other.sourceId);
    const [cleanup] = await store.cleanups.due();
    for (let i = 0; i < 3; i++) await store.cleanups.failed(cleanup!.id, 60_000, 'no answer');
    expect(await isWanted()).toBe(true);
    await store.cleanups.claim(cleanup!.id, 60_000);
    expect(await isWanted()).toBe(false);
    await store.cleanups.failed(cleanup!.id, 60_000, 'no answer');
    expect(await isWanted()).toBe(true);
    await store.cleanups.done(cleanup!.id);
    await store.connections.remove(other.connectionId);
  });
});

describe('schedules', () => {
  it('a run is started once, whichever of two schedulers is late', async () => {
    const slot = Date.now();
    const create = () => stage.store.jobs.create(ids.connectionId, [stream], slot);
    const both = await Promise.allSettled([create(), create()]);
    expect(both.map((each) => each.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const job = await stage.store.jobs.last(ids.connectionId);
    await stage.store.jobs.finish(job!.id, { status: 'succeeded', failures: [] });
    await expect(create()).rejects.toMatchObject({ code: 'JOB_SLOT_TAKEN' });
  });

  it('an inactive connection rests, and one that is switched on again makes up for one run', async () => {
    const cron = { cronExpression: '* * * * * *', cronTimeZone: 'UTC' };
    const document = documentOf({ scheduleType: 'cron', scheduleData: { cron } });
    const { connectionId } = await seedConnection(stage.store, document);
    await stage.store.connections.update(connectionId, { status: 'inactive', document });
    expect((await stage.store.connections.scheduled()).map((c) => c.id)).not.toContain(
      connectionId,
    );
    await stage.store.connections.update(connectionId, { status: 'active', document });
    const [before] = (await stage.store.connections.scheduled()).filter(
      (c) => c.id === connectionId,
    );
    const later = { cron: { ...cron, cronExpression: '0 * * * *' } };
    const changed = documentOf({ scheduleType: 'cron', scheduleData: later });
    await stage.store.connections.update(connectionId, { status: 'active', document: changed });
    const [after] = (await stage.store.connections.scheduled()).filter(
      (c) => c.id === connectionId,
    );
    expect(before!.scheduledAt).toBeLessThan(after!.scheduledAt);
    await stage.store.connections.remove(connectionId);
  });

  it('start a job when due, not before, and none beside a running one', async () => {
    const document = (expression: string) =>
      documentOf({
        scheduleType: 'cron',
        scheduleData: { cron: { cronExpression: expression, cronTimeZone: 'UTC' } },
      });
    // Due at every second from its creation on; the API would refuse it, the store does not.
    const due = await seedConnection(stage.store, document('* * * * * *'));
    const later = await seedConnection(stage.store, document('0 0 1 1 *'));
    stage.startScheduler();
    await expect.poll(() => stage.store.jobs.last(due.connectionId), eventually).not.toBeNull();
    const running = await stage.store.jobs.last(due.connectionId);
    await stage.store.jobs.cancel(running?.id ?? 0);
    await expect
      .poll(async () => (await stage.store.jobs.last(due.connectionId))?.id, eventually)
      .not.toBe(running?.id);
    await stage.store.connections.remove(due.connectionId);
    expect(await stage.store.jobs.last(later.connectionId)).toBeNull();
    await stage.store.connections.remove(later.connectionId);
  });
});
