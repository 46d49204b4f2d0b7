import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { WorkerCommand } from '../../../core/store/work.ts';
import { StagedConnection, STREAM as stream } from './scheduler-stage.ts';

const on = new StagedConnection();
const { sourceSays, sinkSays, sync, statusOf, logOf, attemptOf } = on;

const versions = () => on.stage.versions(on.ids);

const eventually = { timeout: 15_000, interval: 20 };

async function takeFlush(): Promise<WorkerCommand[]> {
  return (await expect
    .poll(() => on.stage.store.work.takeCommands(`connection:${on.ids.connectionId}`), eventually)
    .toMatchObject([{ kind: 'flush' }])) as unknown as WorkerCommand[];
}

describe('a sync is a barrier', () => {
  it('waits for capture, then for the ends of the topics, flushes, and counts its own records', async () => {
    on.stage.ends = new Map([['orders:0', 120]]);
    await sinkSays({ durable: 100, consumed: 100 }, 1000);
    await sourceSays({ capturedThrough: '09' });
    const id = await sync();
    on.stage.startScheduler();

    await expect.poll(() => logOf(id), eventually).toContain('captured 09 of 0A');
    expect(on.stage.endsAskedFor).toEqual([]);
    await sourceSays({ capturedThrough: '0A' });
    await expect.poll(() => logOf(id), eventually).toContain('20 records are not durable yet');
    expect(on.stage.endsAskedFor).toEqual([['orders']]);
    await sinkSays({ durable: 100, consumed: 120 }, 1000);
    await takeFlush();
    expect(await statusOf(id)).toBe('running');
    await sinkSays({ durable: 120, consumed: 120 }, 1020);
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');

    const attempt = await attemptOf(id);
    expect(attempt).toMatchObject({
      status: 'succeeded',
      failures: [],
      streamStats: [
        {
          streamName: 'orders',
          streamNamespace: 'public',
          stats: { recordsCommitted: 20, bytesCommitted: 200 },
        },
      ],
    });
    expect(attempt?.endedAt).toBeGreaterThan(0);
    expect(await logOf(id)).toMatch(/sync started[^]*capture:[^]*deliver:[^]*sync succeeded/);
  });

  it('counts from zero for a sink that was not there, and through its restart', async () => {
    on.stage.ends = new Map([['orders:0', 10]]);
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('no source service reports');
    await sourceSays();
    await expect.poll(() => logOf(id), eventually).toContain('no sink service reports');
    await sinkSays({ durable: 4, consumed: 4 }, 4);
    await expect
      .poll(async () => (await attemptOf(id))?.streamStats, eventually)
      .toMatchObject([{ stats: { recordsCommitted: 4 } }]);
    await sinkSays({ durable: 7, consumed: 7 }, 3);
    await expect
      .poll(async () => (await attemptOf(id))?.streamStats, eventually)
      .toMatchObject([{ stats: { recordsCommitted: 7 } }]);
    await sinkSays({ durable: 10, consumed: 10 }, 6);
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect((await attemptOf(id))?.streamStats).toMatchObject([{ stats: { recordsCommitted: 10 } }]);
  });

  it('does not believe a report on older wishes, nor a stream in its first copy', async () => {
    await sinkSays({});
    await sourceSays({ version: 'older' });
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('takes up the new configuration');
    await sourceSays({
      streams: [{ ...stream, phase: 'snapshot', rowsDone: 3, rowsEstimate: null }],
    });
    await expect.poll(() => logOf(id), eventually).toContain('orders is not streaming yet');
    await sourceSays();
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });

  it('fails with code, message and fix for a stream that stopped at the source', async () => {
    await sourceSays({
      streams: [
        {
          ...stream,
          phase: 'stopped',
          rowsDone: 0,
          rowsEstimate: null,
          error: { code: 'EVT_UNDECODABLE', message: 'a foreign record at 7.', at: 5 },
        },
      ],
    });
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    expect((await attemptOf(id))?.failures).toEqual([
      {
        failureOrigin: 'replication',
        failureType: 'system_error',
        externalMessage: expect.stringMatching(
          /^EVT_UNDECODABLE: stream public\.orders: a foreign record at 7\. Find who wrote/,
        ) as string,
        internalMessage: 'EVT_UNDECODABLE',
        retryable: false,
        timestamp: 5,
      },
    ]);
    // What was read of its other streams does not wait until its files are old.
    await takeFlush();
  });

  it('fails while capture is still under way when the destination waits for a person', async () => {
    const failed = (at: number) => {
      const error = { code: 'CFG_INVALID_CONNECTOR', message: 'no table', at } as const;
      return sinkSays({}, 0, { phase: 'failed', error });
    };
    await sourceSays({ capturedThrough: null });
    // From before the job: a person may have mended it since, and started the job for that.
    await failed(Date.now() - 1000);
    const id = await sync();
    on.stage.startScheduler();
    await expect
      .poll(() => on.stage.store.jobs.logLines(id, 0, 10), eventually)
      .toContainEqual(expect.stringContaining('captured nothing'));
    expect(await statusOf(id)).toBe('running');
    await failed(Date.now() + 1000);
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    expect((await attemptOf(id))?.failures[0]?.internalMessage).toBe('CFG_INVALID_CONNECTOR');
  });

  it('names every standing cause at both ends, not only the one that was noticed first', async () => {
    const error = { code: 'DST_TABLE_CHANGED', message: 't', at: Date.now() + 60_000 } as const;
    await sourceSays({ phase: 'failed', error: { code: 'SRC_SLOT_MISSING', message: 's', at: 1 } });
    await sinkSays({}, 0, { error });
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    const said = (await attemptOf(id))?.failures.map((each) => each.internalMessage);
    expect(said).toEqual(['DST_TABLE_CHANGED', 'SRC_SLOT_MISSING']);
  });

  it('of a reset waits for the new copy, and cancels the sync that ran', async () => {
    await Promise.all([sourceSays(), sinkSays({})]);
    const before = await versions();
    const old = await sync();
    const { id } = await on.stage.store.jobs.createReset(on.ids.connectionId, [stream]);
    expect(await statusOf(old)).toBe('cancelled');
    const wanted = (await on.stage.store.work.listWork()).sources[0];
    expect(wanted?.streams).toEqual([{ ...stream, copy: String(id) }]);
    expect(wanted?.version).not.toBe(before.source);
    on.stage.startScheduler();
    await expect
      .poll(() => on.stage.store.jobs.logLines(id, 0, 10), eventually)
      .toContainEqual(expect.stringContaining('takes up the new configuration'));
    await sourceSays();
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });

  it('waits out what passes, and says what it waits for', async () => {
    const error = { code: 'CFG_STORE_UNAVAILABLE', message: 'it restarts', at: 1 } as const;
    on.stage.fake.position = () =>
      Promise.reject(new PipelineError('CFG_STORE_UNAVAILABLE', 'not now'));
    await sinkSays({});
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('CFG_STORE_UNAVAILABLE: not now');
    on.stage.fake.position = () => Promise.resolve('0A');
    await sourceSays({ phase: 'failed', error });
    await expect.poll(() => logOf(id), eventually).toContain('it restarts');
    await sourceSays();
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });

  it('AD-01: is taken up by another scheduler where the dead one left it', async () => {
    on.stage.ends = new Map([['orders:0', 5]]);
    await sourceSays();
    await sinkSays({ durable: 0, consumed: 0 });
    const id = await sync();
    const first = on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('deliver:');
    await first.stop();
    // A position past what is captured: had it been asked for again, the job would not end.
    on.stage.fake.position = () => Promise.resolve('FF');
    await sinkSays({ durable: 5, consumed: 5 }, 5);
    on.stage.startScheduler('scheduler-2');
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect((await logOf(id)).match(/sync started/g)).toHaveLength(1);
  });

  it('asks for its mark anew when the source was pointed at another server', async () => {
    await sourceSays({ capturedThrough: '09' });
    await sinkSays({});
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('captured 09 of 0A');
    on.stage.fake.position = () => Promise.resolve('0C');
    await on.stage.store.actors.update(on.ids.sourceId, {
      name: 'shop',
      configuration: { host: 'replica' },
    });
    // Beyond the mark of the old server, and short of the new one's.
    await sourceSays({ capturedThrough: '0B' });
    await expect.poll(() => logOf(id), eventually).toContain('is read through 0C');
    await sourceSays({ capturedThrough: '0C' });
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });

  it('a cancel ends it', async () => {
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => statusOf(id), eventually).toBe('running');
    await on.stage.store.jobs.cancel(id);
    await sourceSays();
    await sinkSays({});
    const next = await sync();
    await expect.poll(() => statusOf(next), eventually).toBe('succeeded');
    expect(await statusOf(id)).toBe('cancelled');
  });
});

describe('a topic that is gone', () => {
  it('is waited for, never counted as delivered', async () => {
    await sourceSays();
    await sinkSays({ durable: 5, consumed: 5 });
    on.stage.ends = new Map();
    const id = await sync();
    on.stage.startScheduler();
    await expect.poll(() => logOf(id), eventually).toContain('topic orders is not there');
    on.stage.ends = new Map([['orders:0', 5]]);
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
  });
});

describe('a source that nobody needs any more', () => {
  it('is let go, however often that fails at first', async () => {
    const released: string[] = [];
    on.stage.fake.release = ({ sourceId }) => {
      released.push(sourceId);
      return released.length < 2
        ? Promise.reject(new PipelineError('CFG_INVALID_CONNECTOR', 'the slot is active'))
        : Promise.resolve();
    };
    on.stage.startScheduler();
    await on.stage.store.connections.remove(on.ids.connectionId);
    await expect.poll(() => released, eventually).toEqual([on.ids.sourceId, on.ids.sourceId]);
    await expect
      .poll(() => on.stage.store.cleanups.pendingFor(on.ids.sourceId), eventually)
      .toBeNull();
  });
});
