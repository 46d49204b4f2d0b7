import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../../core/store/jobs.ts';
import { apiContext, streamRequest, type ApiFixture } from './api-fixture.ts';
import { KEYLESS_DESTINATION_DEFINITION } from './fake-connectors.ts';

const STANDARD = { replication_method: { method: 'Standard' } };

describe('streams that jobs read, over the API', () => {
  let api: ApiFixture;
  beforeAll(async () => {
    api = await apiContext();
  });
  afterAll(() => api[Symbol.asyncDispose]());

  const create = async (source: object, streams?: object[], more: object = {}) =>
    api.call('connections/create', {
      sourceId: await api.createSource(source),
      destinationId: await api.createDestination(),
      ...(streams === undefined ? {} : { syncCatalog: { streams } }),
      ...more,
    });

  it('are taken with what each can do when none is named', async () => {
    const { body } = await create(STANDARD);
    const modes = body.syncCatalog.streams.map(
      ({ stream, config }: { stream: { name: string }; config: Record<string, unknown> }) =>
        [
          stream.name,
          config['syncMode'],
          config['destinationSyncMode'],
          config['cursorField'],
        ].join(' '),
    );
    expect(modes).toEqual([
      'orders full_refresh overwrite ',
      'events full_refresh overwrite ',
      'twice incremental append_dedup at',
      'twice incremental append_dedup at',
    ]);
    expect(body.scheduleType).toBe('manual');
    const appended = await api.call('connections/create', {
      sourceId: await api.createSource(STANDARD),
      destinationId: await api.createDestination(KEYLESS_DESTINATION_DEFINITION),
    });
    expect(JSON.stringify(appended.body)).not.toMatch(
      /"destinationSyncMode":"(overwrite|append_d)/,
    );
  });

  it.each([
    ['full_refresh', 'overwrite', {}],
    ['full_refresh', 'append', { cursorField: ['ignored'] }],
    ['incremental', 'append', { cursorField: ['at'] }],
    ['incremental', 'append_dedup', { cursorField: ['at'], primaryKey: [['tag']] }],
  ])('are accepted as %s, %s', async (syncMode, destinationSyncMode, more) => {
    const request = streamRequest('orders', { syncMode, destinationSyncMode, ...more });
    const { status, body } = await create(STANDARD, [request]);
    expect(status).toBe(200);
    const [{ stream, config }] = body.syncCatalog.streams;
    expect(config).toMatchObject({ syncMode, destinationSyncMode, ...more });
    expect(stream.sourceDefinedCursor).toBe(false);
  });

  it.each([
    ['no cursor', 'orders', { syncMode: 'incremental' }, 'needs a cursor'],
    ['a cursor without order', 'orders', { syncMode: 'incremental', cursorField: ['tag'] }, 'tag'],
    ['an unknown cursor', 'orders', { syncMode: 'incremental', cursorField: ['x'] }, 'x does not'],
    ['a nested cursor', 'orders', { syncMode: 'incremental', cursorField: ['at', 'x'] }, 'at.x'],
    [
      'overwrite by a cursor',
      'orders',
      { syncMode: 'incremental', cursorField: ['at'], destinationSyncMode: 'overwrite' },
      'use append or append_dedup',
    ],
    [
      'a deduped refresh',
      'orders',
      { syncMode: 'full_refresh', destinationSyncMode: 'append_dedup' },
      'use overwrite or append',
    ],
    [
      'dedup without a key',
      'events',
      { syncMode: 'full_refresh', destinationSyncMode: 'append', primaryKey: [['gone']] },
      'column gone of the primary key',
    ],
  ])('refuses %s with the name of the stream', async (_case, name, config, why) => {
    const answer = await create(STANDARD, [streamRequest(name, config)]);
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain(`public.${name}`);
    expect(answer.body.message).toContain(why);
  });

  it('refuses a schedule under which nobody would read them', async () => {
    const streams = [streamRequest('orders', { syncMode: 'full_refresh' })];
    const refused = await create({}, streams, { scheduleType: 'continuous' });
    expect(refused).toMatchObject({ status: 422 });
    expect(refused.body.message).toContain('continuous');
    expect((await create({}, streams)).body.scheduleType).toBe('manual');
    const mixed = await create({}, [...streams, streamRequest('events')]);
    expect(mixed.body.scheduleType).toBe('continuous');
  });

  it('are work only while a job wants them, and begin anew for a reset', async () => {
    const streams = [
      streamRequest('orders', { syncMode: 'full_refresh', destinationSyncMode: 'overwrite' }),
      streamRequest('events', { destinationSyncMode: 'append' }),
    ];
    const { connectionId } = (await create({}, streams)).body as { connectionId: string };
    const work = async () => {
      const { reads, sources, connections } = await api.store.work.listWork();
      const connection = connections.find((each) => each.connectionId === connectionId);
      return {
        read: reads.find((each) => each.connectionId === connectionId),
        source: sources.find((each) => each.sourceId === connection?.sourceId),
        connection,
      };
    };
    const before = await work();
    expect(before.read).toBeUndefined();
    expect(before.source?.streams.map(({ name }) => name)).toEqual(['events']);
    expect(before.connection?.streams).toMatchObject([
      { name: 'orders', mode: 'overwrite', topicOwner: connectionId, isReadByJob: true },
      { name: 'events', mode: 'append', topicOwner: before.source?.sourceName },
    ]);
    const sync = (await api.call('connections/sync', { connectionId })).body as { job: Job };
    expect((await work()).read).toMatchObject({
      job: sync.job.id,
      streams: [{ name: 'orders', syncMode: 'full_refresh', cursor: null, primaryKey: ['id'] }],
    });
    const wish = (streamName: string) =>
      api.call('connections/reset/stream', { connectionId, streams: [{ streamName }] });
    const reset = ((await wish('orders')).body as { job: Job }).job;
    const { read, source } = await work();
    expect(read).toMatchObject({ job: reset.id, streams: [{ copy: String(reset.id) }] });
    expect(source?.streams[0]).not.toHaveProperty('copy');
    await wish('events');
    const after = await work();
    expect(after.read).toBeUndefined();
    expect(after.source?.streams[0]).toHaveProperty('copy');
  });

  it('keeps a source to the way its connections read it', async () => {
    const sourceId = await api.createSource(STANDARD);
    const { body } = await api.call('sources/get', { sourceId });
    const logged = { ...body.connectionConfiguration, replication_method: { method: 'CDC' } };
    const update = { sourceId, name: body.name, connectionConfiguration: logged };
    const destinationId = await api.createDestination();
    const created = await api.call('connections/create', { sourceId, destinationId });
    const refused = await api.call('sources/update', update);
    expect(refused.status).toBe(422);
    expect(refused.body.message).toContain('replication method');
    await api.call('connections/delete', { connectionId: created.body.connectionId });
    expect((await api.call('sources/update', update)).status).toBe(200);
  });
});
