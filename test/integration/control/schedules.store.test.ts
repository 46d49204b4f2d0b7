import { describe, expect, it } from 'vitest';
import { StagedConnection, STREAM as stream } from './scheduler-stage.ts';
import { documentOf, seedConnection } from './store-fixture.ts';

const on = new StagedConnection();

const eventually = { timeout: 30_000, interval: 20 };

describe('a clean-up that comes late', () => {
  it('leaves alone what another source runs on by now', async () => {
    const { store } = on.stage;
    const released: string[] = [];
    on.stage.fake.release = ({ sourceId }) => Promise.resolve(void released.push(sourceId));
    const slot = { host: 'db', slot: 'headrace on db' };
    await store.actors.update(on.ids.sourceId, { name: 'old', configuration: slot });
    const other = await seedConnection(store);
    await store.actors.update(other.sourceId, { name: 'new', configuration: slot });
    await on.stage.sourceSays(other, {});
    await store.connections.remove(on.ids.connectionId);
    on.stage.startScheduler();
    await expect.poll(() => store.cleanups.pendingFor(on.ids.sourceId), eventually).toBeNull();
    expect(released).toEqual([]);
    await store.connections.remove(other.connectionId);
    await expect.poll(() => store.cleanups.pendingFor(other.sourceId), eventually).toBeNull();
    expect(released).toEqual([other.sourceId]);
  });

  it('holds back a source that has never run only while it is being tried', async () => {
    const { store } = on.stage;
    const other = await seedConnection(store);
    await store.connections.remove(on.ids.connectionId);
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
    const create = () => on.stage.store.jobs.create(on.ids.connectionId, [stream], slot);
    const both = await Promise.allSettled([create(), create()]);
    expect(both.map((each) => each.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const job = await on.stage.store.jobs.last(on.ids.connectionId);
    await on.stage.store.jobs.finish(job!.id, { status: 'succeeded', failures: [] });
    await expect(create()).rejects.toMatchObject({ code: 'JOB_SLOT_TAKEN' });
  });

  it('an inactive connection rests, and one that is switched on again makes up for one run', async () => {
    const cron = { cronExpression: '* * * * * *', cronTimeZone: 'UTC' };
    const document = documentOf({ scheduleType: 'cron', scheduleData: { cron } });
    const { connectionId } = await seedConnection(on.stage.store, document);
    await on.stage.store.connections.update(connectionId, { status: 'inactive', document });
    expect((await on.stage.store.connections.scheduled()).map((c) => c.id)).not.toContain(
      connectionId,
    );
    await on.stage.store.connections.update(connectionId, { status: 'active', document });
    const [before] = (await on.stage.store.connections.scheduled()).filter(
      (c) => c.id === connectionId,
    );
    const later = { cron: { ...cron, cronExpression: '0 * * * *' } };
    const changed = documentOf({ scheduleType: 'cron', scheduleData: later });
    await on.stage.store.connections.update(connectionId, { status: 'active', document: changed });
    const [after] = (await on.stage.store.connections.scheduled()).filter(
      (c) => c.id === connectionId,
    );
    expect(before!.scheduledAt).toBeLessThan(after!.scheduledAt);
    await on.stage.store.connections.remove(connectionId);
  });

  it('start a job when due, not before, and none beside a running one', async () => {
    const document = (expression: string) =>
      documentOf({
        scheduleType: 'cron',
        scheduleData: { cron: { cronExpression: expression, cronTimeZone: 'UTC' } },
      });
    // Due at every second from its creation on; the API would refuse it, the store does not.
    const due = await seedConnection(on.stage.store, document('* * * * * *'));
    const later = await seedConnection(on.stage.store, document('0 0 1 1 *'));
    on.stage.startScheduler();
    await expect.poll(() => on.stage.store.jobs.last(due.connectionId), eventually).not.toBeNull();
    const running = await on.stage.store.jobs.last(due.connectionId);
    await on.stage.store.jobs.cancel(running?.id ?? 0);
    await expect
      .poll(async () => (await on.stage.store.jobs.last(due.connectionId))?.id, eventually)
      .not.toBe(running?.id);
    await on.stage.store.connections.remove(due.connectionId);
    expect(await on.stage.store.jobs.last(later.connectionId)).toBeNull();
    await on.stage.store.connections.remove(later.connectionId);
  });
});
