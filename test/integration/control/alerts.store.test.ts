import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OutgoingRules } from '../../../core/net/outgoing-rules.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import { failureReason } from '../../../core/store/failure-reason.ts';
import { createAlerts } from '../../../services/alerts/alerts.ts';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';

interface Received {
  readonly path: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** Records what is posted to it; `answer` decides the status, null lets the caller hang. */
class Receiver {
  readonly received: Received[] = [];
  answer: (path: string) => number | null = () => 200;
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      void json(request).then((body) => {
        const path = request.url ?? '';
        const status = this.answer(path);
        if (status === null) return;
        if (status === 200) this.received.push({ path, body });
        response.writeHead(status).end('no thanks');
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  events(path: string): string[] {
    return this.received.filter((each) => each.path === path).map((each) => each.body.data.event);
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const workspaceId = 'default';
const eventually = { timeout: 30_000, interval: 20 };
const receiver = new Receiver();
const abort = new AbortController();
let api: ApiFixture;
let url: string;
let running: Promise<void>;

beforeAll(async () => {
  api = await apiContext();
  url = await receiver.listen();
  running = createAlerts({
    store: api.store,
    connectors: api.fake,
    rules: new OutgoingRules(['127.0.0.1']),
    owner: 'alerts-1',
    webUrl: 'https://headrace.example',
    logger: createLogger({ level: 'silent', service: 'alerts' }),
    freshnessEveryMs: 50,
    retainedLogEveryMs: 50,
    retryInMs: () => 100,
  }).run(abort.signal);
}, 60_000);
afterAll(async () => {
  abort.abort();
  receiver.close();
  await running;
  await api[Symbol.asyncDispose]();
});

async function end(connectionId: string, status: 'failed' | 'succeeded'): Promise<void> {
  const { id } = await api.store.jobs.create(connectionId, [{ name: 'orders' }]);
  const failures =
    status === 'failed' ? [failureReason('SRC_SLOT_MISSING', 'the slot is gone')] : [];
  await api.store.jobs.finish(id, { status, failures });
}

describe('alerts', () => {
  it('tests a channel, keeps its address secret, and an update with the mask keeps it', async () => {
    const slack = { notificationType: 'slack', slackConfiguration: { webhook: `${url}/try` } };
    expect((await api.call('notifications/try', slack)).body).toMatchObject({
      status: 'succeeded',
    });
    const webhook = {
      workspaceId,
      notificationTrigger: 'sync_failure',
      slackConfiguration: { webhook: `${url}/try` },
    };
    expect((await api.call('notifications/try_webhook', webhook)).body.status).toBe('succeeded');
    expect(receiver.events('/try')).toEqual(['test', 'test']);
    receiver.answer = () => 410;
    const refused = (await api.call('notifications/try', slack)).body;
    receiver.answer = () => 200;
    expect(refused).toEqual({
      status: 'failed',
      message: 'the receiver answered 410: no thanks',
    });
    const elsewhere = { ...slack, slackConfiguration: { webhook: 'http://10.0.0.1/secret' } };
    const forbidden = (await api.call('notifications/try', elsewhere)).body;
    expect(forbidden).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('CFG_ADDRESS_FORBIDDEN') as string,
    });
    expect(forbidden.message).not.toContain('secret');
    expect((await api.call('notifications/try', { notificationType: 'fax' })).status).toBe(400);

    const settings = {
      sendOnFailure: {
        notificationType: ['slack', 'webhook'],
        slackConfiguration: { webhook: `${url}/slack` },
        webhookConfiguration: { webhook: `${url}/hook` },
      },
      sendOnSyncDisabled: {
        notificationType: ['slack'],
        slackConfiguration: { webhook: `${url}/slack` },
      },
    };
    const update = (notificationSettings: object) =>
      api.call('workspaces/update', { workspaceId, notificationSettings });
    const { body } = await update(settings);
    expect(JSON.stringify(body)).not.toContain(url);
    expect(body.notificationSettings.sendOnFailure).toMatchObject({
      notificationType: ['slack', 'webhook'],
      slackConfiguration: { webhook: '**********' },
    });
    expect((await update(body.notificationSettings)).status).toBe(200);
    expect((await api.call('workspaces/get', { workspaceId })).body.notificationSettings).toEqual(
      body.notificationSettings,
    );
  });

  it('tells Slack of the third failure in a row, a program of each, both of the recovery', async () => {
    const connectionId = await createConnection(api, { name: 'shop <to> lake' });
    for (let i = 0; i < 4; i++) await end(connectionId, 'failed');
    await end(connectionId, 'succeeded');
    await end(connectionId, 'succeeded');
    await end(connectionId, 'failed');
    const failed = 'sync_failed';
    const hook = [failed, failed, failed, failed, 'sync_succeeded', failed];
    await expect
      .poll(() => receiver.events('/hook').toSorted(), eventually)
      .toEqual(hook.toSorted());
    expect(receiver.events('/slack').toSorted()).toEqual([failed, 'sync_succeeded']);
    const told = receiver.received.find(
      (each) => each.path === '/slack' && each.body.data.event === failed,
    );
    expect(told?.body.text).toContain('Sync of shop &lt;to&gt; lake failed (3 in a row)');
    expect(told?.body.text).toContain('SRC_SLOT_MISSING: the slot is gone');
    expect(told?.body.data).toMatchObject({
      connection: {
        id: connectionId,
        url: `https://headrace.example/connections/${connectionId}`,
      },
      source: { name: 'shop' },
      success: false,
      failedInARow: 3,
      errorOrigin: 'source',
    });
  });

  it('tries again what was not taken, and one that hangs holds up nobody', async () => {
    const connectionId = await createConnection(api);
    const before = receiver.events('/hook').length;
    let refusals = 0;
    receiver.answer = (path) => (path === '/hook' && refusals++ < 3 ? 503 : 200);
    await end(connectionId, 'failed');
    await expect.poll(() => receiver.events('/hook').length, eventually).toBe(before + 1);
    receiver.answer = (path) => (path === '/hook' ? null : 200);
    await end(connectionId, 'failed');
    await end(connectionId, 'failed');
    await expect.poll(() => receiver.events('/slack').at(-1), eventually).toBe('sync_failed');
    await api.store.connections.switchOff(connectionId, 'switched off after 3 failed jobs.');
    await expect
      .poll(() => receiver.events('/slack').at(-1), eventually)
      .toBe('connection_disabled');
    receiver.answer = () => 200;
  });

  it('tells once of a destination that falls behind, and when it has caught up', async () => {
    const connectionId = await createConnection(api, { freshnessObjectiveSeconds: 20 });
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const delivered = (durable: number) =>
      api.store.work.saveReport(`connection:${connectionId}`, 'worker', {
        kind: 'connection',
        id: connectionId,
        phase: 'running',
        version: 'v',
        partitions: [{ topic: 't', partition: 0, durable, consumed: 9, end: 9 }],
        streams: [
          {
            namespace: 'public',
            name: 'orders',
            phase: 'running',
            records: 0,
            bytes: 0,
            watermarkMs: Date.now() - 60_000,
          },
        ],
      });
    await api.store.work.saveReport(`source:${sourceId}`, 'worker', {
      kind: 'source',
      id: sourceId,
      phase: 'streaming',
      version: 'v',
      capturedThrough: '0A',
      lagBytes: 0,
      lagMs: 0,
      records: 0,
      bytes: 0,
      streams: [],
    });
    const fresh = (): string[] =>
      receiver.received
        .filter((each) => each.body.data.connection?.id === connectionId && each.path === '/hook')
        .map((each) => each.body.data.event);
    await delivered(5);
    await expect.poll(fresh, eventually).toEqual(['freshness_missed']);
    await delivered(9);
    await expect.poll(fresh, eventually).toEqual(['freshness_missed', 'freshness_met']);
  });

  it('tells of log that piles up at a source, also when none of its connections is active', async () => {
    const connectionId = await createConnection(api, { status: 'inactive' });
    api.fake.retainedLogBytes = 11 * 1024 ** 3;
    const logs = () =>
      receiver.received.filter(
        (each) =>
          each.body.data.event.startsWith('retained_log') &&
          each.body.data.connection.id === connectionId &&
          each.path === '/slack',
      );
    await expect.poll(() => logs().length, eventually).toBe(1);
    expect(logs()[0]?.body.text).toContain('None of its connections is active');
    const { body } = await api.call('connections/status', { connectionId });
    expect(body.retainedLogBytes).toBe(11 * 1024 ** 3);
    expect(body.warnings[0]).toContain('the connection is inactive');
    api.fake.retainedLogBytes = 0;
    await expect
      .poll(() => logs().at(-1)?.body.data.event, eventually)
      .toBe('retained_log_within_budget');
  });
});
