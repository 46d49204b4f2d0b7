import { describe, expect, it } from 'vitest';
import { StagedConnection, STREAM as stream } from './scheduler-stage.ts';

const on = new StagedConnection();
const { sourceSays, sinkSays, sync, statusOf, logOf, attemptOf } = on;

const attemptsOf = (id: number) => on.stage.store.jobs.attempts([id]);
const eventually = { timeout: 30_000, interval: 20 };

describe('attempts', () => {
  const quick = { patienceMs: 200, retryInMs: () => 50 };
  const unreachable = { code: 'SRC_UNREACHABLE', message: 'db does not answer', at: 1 } as const;

  it('an attempt gives up on what does not answer; another one begins where it left off', async () => {
    on.stage.policy = { ...on.stage.policy, ...quick };
    await sourceSays({ phase: 'failed', error: unreachable });
    await sinkSays({}, 7);
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(async () => (await attemptsOf(id)).length, eventually).toBeGreaterThan(1);
    // A position past what is captured: the second attempt goes on from the mark of the first.
    on.stage.fake.position = () => Promise.resolve('FF');
    await sourceSays();
    await expect.poll(() => statusOf(id), eventually).toMatch('succeeded');
    const attempts = await attemptsOf(id);
    expect(attempts.at(-1)).toMatchObject({ status: 'succeeded', failures: [] });
    expect(attempts[0]).toMatchObject({
      number: 0,
      status: 'failed',
      failures: [{ internalMessage: 'SRC_UNREACHABLE', retryable: true, failureOrigin: 'source' }],
    });
    expect(await logOf(id)).toMatch(/failed: SRC_UNREACHABLE[^]*job: attempt 1 failed/);
    expect((await on.stage.store.jobs.logLines(id, 1, 10)).join()).toContain('job: attempt 2 of 3');
  });

  it('fail the job when there are no more of them, and keep it incomplete in between', async () => {
    on.stage.policy = { ...on.stage.policy, ...quick, maxAttempts: 2, retryInMs: () => 1500 };
    await sourceSays({ phase: 'failed', error: unreachable });
    await sinkSays({});
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => statusOf(id), eventually).toBe('incomplete');
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    expect((await attemptsOf(id)).map((each) => each.status)).toEqual(['failed', 'failed']);
  });

  it("a connection's own limit of memory reaches its delivery, and its job says what is not applied", async () => {
    const { store } = on.stage;
    const { document } = await store.connections.get(on.ids.connectionId);
    const before = await on.stage.versions(on.ids);
    const resourceRequirements = { memory_limit: '64Mi', cpu_limit: '1.0' };
    const limited = { ...document, resourceRequirements };
    await store.connections.update(on.ids.connectionId, { status: 'active', document: limited });
    const { connections } = await store.work.listWork();
    const work = connections.find((each) => each.connectionId === on.ids.connectionId);
    expect(work?.memoryLimitBytes).toBe(64 * 1024 * 1024);
    // Another version, so that a delivery that runs begins anew with it; the source's stays.
    const after = await on.stage.versions(on.ids);
    expect(after.connection).not.toBe(before.connection);
    expect(after.source).toBe(before.source);
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('job: sync started');
    await expect
      .poll(() => logOf(id), eventually)
      .toMatch(/bounds the buffers of the delivery \(64Mi\)[^]*cpu_limit kept and not applied/);
  });

  it('ends one whose worker died for want of memory, in Airbyte’s words, and begins another', async () => {
    on.stage.policy = { ...on.stage.policy, ...quick };
    const { work } = on.stage.store;
    await sourceSays();
    await sinkSays({ consumed: 3, end: 9 });
    const unit = `connection:${on.ids.connectionId}`;
    await work.acquireLease(unit, 'worker', 6_000);
    on.stage.ends = new Map([['orders:0', 9]]);
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('not durable yet');
    const message = 'OOMKilled: Container exceeded memory limit.';
    const death = { code: 'SNK_OUT_OF_MEMORY', message, at: Date.now() } as const;
    expect(await work.lastWord('worker', () => death, 15_000)).toEqual([unit]);
    // Its successor comes too late to speak over it.
    expect(await work.acquireLease(unit, 'successor', 6_000)).toBe(false);
    await expect.poll(async () => (await attemptsOf(id)).length, eventually).toBe(2);
    expect((await attemptsOf(id))[0]).toMatchObject({
      status: 'failed',
      failures: [
        {
          failureOrigin: 'destination',
          externalMessage: expect.stringContaining(message) as string,
        },
      ],
    });
    await sinkSays({ durable: 9, consumed: 9, end: 9 });
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });

  it('a job that does not end in time fails with what it waited for last', async () => {
    on.stage.policy = { ...on.stage.policy, maxJobMs: 1000 };
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    expect((await attemptOf(id))?.failures[0]).toMatchObject({
      internalMessage: 'JOB_TIMED_OUT',
      externalMessage: expect.stringContaining('no source service reports') as string,
    });
  });

  it('say where their time went', async () => {
    on.stage.ends = new Map([['orders:0', 9]]);
    await sourceSays({ capturedThrough: '09', stageMs: { read: 100, encode: 10, kafka: 5 } });
    await sinkSays({}, 0, { stageMs: { kafka: 50, write: 0 } });
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('captured 09 of 0A');
    await sourceSays({ capturedThrough: '09', stageMs: { read: 700, encode: 110, kafka: 105 } });
    await expect
      .poll(async () => (await attemptOf(id))?.stageMs, eventually)
      .toEqual({ read: 600, encode: 100, kafka: 100, write: 0 });
    await sourceSays({ stageMs: { read: 700, encode: 110, kafka: 105 } });
    await expect.poll(() => logOf(id), eventually).toContain('deliver:');
    await sinkSays({ durable: 9, consumed: 9 }, 9, { stageMs: { kafka: 50, write: 200 } });
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect(await logOf(id)).toContain(
      'job: time by stage: source read 60 %, encode 10 %, Kafka 10 %, write 20 %',
    );
  });
});

describe('a connection whose jobs only fail', () => {
  it('is switched off, with the reason, and its open job with it', async () => {
    on.stage.policy = { ...on.stage.policy, disableAfterJobs: 2 };
    const error = { code: 'SRC_SLOT_MISSING', message: 'gone', at: 1 } as const;
    await sourceSays({
      streams: [{ ...stream, phase: 'stopped', rowsDone: 0, rowsEstimate: null, error }],
    });
    on.stage.startScheduler();
    for (const before of ['active', 'inactive']) {
      const id = await sync();
      await expect.poll(() => statusOf(id), eventually).toBe('failed');
      await expect
        .poll(
          async () => (await on.stage.store.connections.get(on.ids.connectionId)).status,
          eventually,
        )
        .toBe(before);
    }
    const { document } = await on.stage.store.connections.get(on.ids.connectionId);
    expect(document['statusReason']).toMatch(/^switched off after 2 failed jobs .* slot is kept/);
  });

  it('a success or nothing at all ends the row; a cancelled job does neither', async () => {
    const end = async (status: 'failed' | 'succeeded' | 'cancelled') => {
      const id = await sync();
      if (status === 'cancelled') await on.stage.store.jobs.cancel(id);
      else await on.stage.store.jobs.finish(id, { status, failures: [] });
    };
    const streak = async () => (await on.stage.store.jobs.failureStreak(on.ids.connectionId)).count;
    await end('failed');
    await end('cancelled');
    await end('failed');
    expect(await streak()).toBe(2);
    await end('succeeded');
    expect(await streak()).toBe(0);
    await end('failed');
    expect(await on.stage.store.jobs.prune(60_000)).toBe(0);
    // All are older than a minute from now; the newest one stays.
    expect(await on.stage.store.jobs.prune(-60_000)).toBeGreaterThanOrEqual(4);
    expect(await streak()).toBe(1);
  });
});
