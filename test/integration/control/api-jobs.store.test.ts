import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';

const SECONDS = expect.closeTo(Date.now() / 1000, -3) as number;

let api: ApiFixture;
beforeAll(async () => void (api = await apiContext()), 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

describe('syncs and jobs', () => {
  it('sync answers a running job with one attempt at once; a second one is 409', async () => {
    const connectionId = await createConnection(api);
    const { status, body } = await api.call('connections/sync', { connectionId });
    expect(status).toBe(200);
    expect(body).toEqual({
      job: {
        id: expect.any(Number) as number,
        configType: 'sync',
        configId: connectionId,
        enabledStreams: [{ name: 'orders', namespace: 'public' }],
        createdAt: SECONDS,
        updatedAt: SECONDS,
        status: 'pending',
      },
      attempts: [
        {
          attempt: {
            id: 0,
            status: 'running',
            createdAt: SECONDS,
            updatedAt: SECONDS,
            bytesSynced: 0,
            recordsSynced: 0,
            totalStats: {
              recordsEmitted: 0,
              bytesEmitted: 0,
              recordsCommitted: 0,
              bytesCommitted: 0,
            },
            streamStats: [],
            stageMs: {},
          },
          logs: { logLines: [] },
        },
      ],
    });
    expect(await api.call('connections/sync', { connectionId })).toMatchObject({
      status: 409,
      body: { message: `A sync is already running for: ${connectionId}` },
    });
    const { id } = body.job as { id: number };
    for (const form of [id, String(id)]) {
      expect((await api.call('jobs/get', { id: form })).body).toEqual(body);
    }
    const listed = { configTypes: ['sync'], configId: connectionId };
    const list = await api.call('jobs/list', { ...listed, pagination: { pageSize: 5 } });
    expect(list.body).toMatchObject({
      totalJobCount: 1,
      jobs: [{ job: { id }, attempts: [{ id: 0, status: 'running' }] }],
    });
    expect(await getWithBody('/api/v1/jobs/list', listed)).toEqual(list.body);
  });

  it('lists are as things are now, however often they were asked for before', async () => {
    const connectionId = await createConnection(api);
    const { id } = (await api.call('connections/sync', { connectionId })).body.job;
    const jobs = async () =>
      (await api.call('jobs/list', { configTypes: ['sync'], configId: connectionId })).body.jobs;
    const listed = async () =>
      (await api.call('connections/list', { workspaceId: 'default' })).body.connections.find(
        (each: { connectionId: string }) => each.connectionId === connectionId,
      );
    expect([(await jobs())[0].job.status, (await listed()).status]).toEqual(['pending', 'active']);
    await api.call('connections/update', { connectionId, name: 'renamed', status: 'inactive' });
    expect(await listed()).toMatchObject({ name: 'renamed', status: 'inactive' });
    for (let again = 0; again < 2; again++) {
      expect(await jobs()).toMatchObject([{ job: { id, status: 'cancelled' } }]);
    }
    await api.call('connections/delete', { connectionId });
    expect(await listed()).toBeUndefined();
  });

  it('cancels, and answers 200 for a job that has ended', async () => {
    const connectionId = await createConnection(api);
    const { id } = (await api.call('connections/sync', { connectionId })).body.job;
    for (let i = 0; i < 2; i++) {
      const { status, body } = await api.call('jobs/cancel', { id });
      expect(status).toBe(200);
      expect(body.job.status).toBe('cancelled');
      expect(body.attempts[0].attempt).toMatchObject({
        status: 'failed',
        failureSummary: { failures: [{ failureType: 'manual_cancellation' }] },
      });
    }
    expect((await api.call('connections/sync', { connectionId })).status).toBe(200);
  });

  it('a sync on an inactive connection is 409', async () => {
    const connectionId = await createConnection(api, { status: 'inactive' });
    expect(await api.call('connections/sync', { connectionId })).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('Can only sync an active connection') as string },
    });
  });

  it('status puts both ends of a stream side by side', async () => {
    const connectionId = await createConnection(api);
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const error = { code: 'EVT_UNDECODABLE', message: 'at 5', at: 1 } as const;
    await api.store.work.saveReport(`source:${sourceId}`, 'worker', {
      kind: 'source',
      id: sourceId,
      phase: 'streaming',
      version: 'v',
      capturedThrough: '0A',
      lagBytes: 7,
      lagMs: 1500,
      records: 10,
      bytes: 100,
      streams: [
        { namespace: 'public', name: 'orders', phase: 'streaming', rowsDone: 3, rowsEstimate: 4 },
      ],
    });
    await api.store.work.saveReport(`connection:${connectionId}`, 'worker', {
      kind: 'connection',
      id: connectionId,
      phase: 'running',
      version: 'v',
      partitions: [{ topic: 't', partition: 0, durable: 5, consumed: 6, end: 9 }],
      streams: [
        {
          namespace: 'public',
          name: 'orders',
          phase: 'stopped',
          records: 5,
          bytes: 50,
          watermarkMs: 12,
          error,
        },
      ],
    });
    await api.call('connections/sync', { connectionId });
    const { body } = await api.call('connections/status', { connectionId });
    expect(body).toMatchObject({
      connectionId,
      status: 'active',
      sourceReport: { phase: 'streaming', capturedThrough: '0A' },
      connectionReport: { phase: 'running' },
      streams: [
        {
          name: 'orders',
          namespace: 'public',
          sourcePhase: 'streaming',
          rowsDone: 3,
          rowsEstimate: 4,
          destinationPhase: 'stopped',
          records: 5,
          bytes: 50,
          error,
        },
      ],
      lagBytes: 7,
      lagSeconds: 1.5,
      lagRecords: 4,
      records: 5,
      bytes: 50,
      lastJob: { status: 'pending' },
    });
    expect(body.sourceReport.ageSeconds).toBeGreaterThanOrEqual(0);
  });
});

/** fetch refuses a body on GET; curl sends it. */
async function getWithBody(path: string, body: object): Promise<unknown> {
  const payload = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': payload.length };
  return new Promise((resolve, reject) => {
    const sent = request(`${api.url}${path}`, { method: 'GET', headers }, (response) => {
      text(response).then((answer) => resolve(JSON.parse(answer)), reject);
    });
    sent.on('error', reject);
    sent.end(payload);
  });
}
