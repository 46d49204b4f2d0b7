import { expect, it } from 'vitest';
import { openStore } from '../../../core/store/store.ts';
import { postgresContext } from '../../support/contexts.ts';
import { apiContext, createConnection } from './api-fixture.ts';

it('works over a Postgres store, and again after that store was killed', async () => {
  await using server = await postgresContext();
  const store = await openStore({ home: '/nowhere', storeUrl: server.url, secretKey: 'key' });
  try {
    await using api = await apiContext({ store });
    const connectionId = await createConnection(api);
    const { id } = (await api.call('connections/sync', { connectionId })).body.job;
    expect((await api.call('jobs/get', { id })).body.job.status).toBe('pending');

    await server.kill();
    expect((await api.get('/health/live')).status).toBe(200);
    expect(await api.get('/health/ready')).toMatchObject({
      status: 503,
      body: { code: 'CFG_STORE_UNAVAILABLE' },
    });
    expect((await api.call('jobs/get', { id })).status).toBe(503);
    await server.restart();
    await expect.poll(async () => (await api.get('/health/ready')).status).toBe(200);
    expect((await api.call('jobs/get', { id })).body.job.status).toBe('pending');
  } finally {
    await store.close();
  }
});
