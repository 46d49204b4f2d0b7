import { describe, expect, it } from 'vitest';
import type { Subject } from '../../../../core/store/events.ts';
import type { MonitoredConnection } from '../../../../core/store/monitoring.ts';
import { channelsFor } from '../../../../core/store/notification-settings.ts';
import { linksTo, messageFor } from '../../../../core/notify/message.ts';
import {
  failureRule,
  tellsOfFailure,
  tellsOfRecovery,
} from '../../../../services/alerts/failure-rule.ts';
import { objectiveOf, stalenessOf } from '../../../../services/alerts/watch.ts';

const slack = { slackConfiguration: { webhook: 'https://hooks.slack.example/a' } };
const hook = { webhookConfiguration: { webhook: 'https://ops.example/b' } };

describe('who is told', () => {
  const settings = {
    notificationSettings: {
      sendOnFailure: { notificationType: ['slack', 'webhook'], ...slack, ...hook },
      sendOnSyncDisabled: { notificationType: ['customerio'] },
    },
    notifications: [{ notificationType: 'slack', ...slack }],
  };

  it('every channel once, successes to nobody unless asked', () => {
    const types = (trigger: Parameters<typeof channelsFor>[1]) =>
      channelsFor(settings, trigger).map((each) => each.type);
    expect(types('failure')).toEqual(['slack', 'webhook']);
    expect(types('success')).toEqual([]);
    expect(types('disabled')).toEqual(['slack']);
    expect(types('freshness')).toEqual(['slack', 'webhook']);
  });

  it.each([
    ['slack', {}, [3, 13, 23]],
    ['webhook', {}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ['slack', { failureThreshold: 2, repeatAfter: 5 }, [2, 7, 12, 17, 22]],
  ] as const)('%s with %o hears of failures %o', (type, item, told) => {
    const rule = failureRule(type, item);
    const heard = Array.from({ length: 24 }, (_, i) => i + 1).filter((n) =>
      tellsOfFailure(rule, n),
    );
    expect(heard.slice(0, told.length)).toEqual(told);
    expect(tellsOfRecovery(rule, rule.threshold)).toBe(true);
    expect(tellsOfRecovery(rule, rule.threshold - 1)).toBe(false);
  });
});

describe('a message', () => {
  const alert = { title: 'Sync of <a> & b failed', lines: ['why'], data: { jobId: 7 } };

  it('has text, blocks and data; what Slack would read as mark-up is escaped', () => {
    expect(messageFor({ type: 'slack', url: 'https://hooks.slack.example' }, alert)).toMatchObject({
      text: 'Sync of &lt;a&gt; &amp; b failed\nwhy',
      blocks: [{ text: { text: '*Sync of &lt;a&gt; &amp; b failed*' } }, {}],
      data: { jobId: 7 },
    });
  });

  it('is text alone for Google Chat', () => {
    const chat = { type: 'webhook', url: 'https://chat.googleapis.com/v1/spaces/x' } as const;
    expect(Object.keys(messageFor(chat, alert))).toEqual(['text']);
  });

  it('links to the web page when it has an address', () => {
    expect(linksTo('https://h.example/')('connections/1')).toEqual({
      url: 'https://h.example/connections/1',
    });
    expect(linksTo(null)('connections/1')).toEqual({});
  });
});

describe('freshness', () => {
  const now = 1_000_000_000;
  const connection = (document: object, more: object = {}): MonitoredConnection =>
    ({
      subject: { document } as unknown as Subject,
      source: { lagMs: 0, streams: [] },
      sourceAgeMs: 100,
      delivery: { partitions: [{ end: 5, durable: 5 }], streams: [{ watermarkMs: 1 }] },
      deliveryAgeMs: 100,
      lastSuccessAt: null,
      createdAt: now - 60_000,
      ...more,
    }) as unknown as MonitoredConnection;
  const continuous = { scheduleType: 'continuous' };

  it.each([
    ['all is delivered, however old it is', {}, 0],
    [
      'records wait',
      {
        delivery: { partitions: [{ end: 6, durable: 5 }], streams: [{ watermarkMs: now - 9000 }] },
      },
      9,
    ],
    ['the source is behind its log', { source: { lagMs: 7000, streams: [] } }, 7],
    [
      'a stream has stopped',
      { source: { lagMs: 0, streams: [{ phase: 'stopped', error: { at: now - 8000 } }] } },
      8,
    ],
    ['a service is silent', { sourceAgeMs: 40_000 }, 40],
    ['no service has ever reported', { sourceAgeMs: null }, 60],
  ])('%s', (_, more, seconds) => {
    expect(stalenessOf(connection(continuous, more), now)).toBe(seconds);
  });

  it('by a schedule counts from the last success, and only against an objective of its own', () => {
    const manual = { scheduleType: 'manual' };
    expect(stalenessOf(connection(manual, { lastSuccessAt: now - 5000 }), now)).toBe(5);
    expect(objectiveOf(connection(manual), {})).toBeNull();
    expect(objectiveOf(connection({ ...manual, freshnessObjectiveSeconds: 60 }), {})).toBe(60);
    expect(objectiveOf(connection(continuous), {})).toBe(900);
  });
});
