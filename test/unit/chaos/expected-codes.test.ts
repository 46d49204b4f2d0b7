import { expect, test } from 'vitest';
import type { Component } from '../../chaos/fault-schedule.ts';
import { unexplained } from '../../chaos/expected-codes.ts';
import type { InjectedFault } from '../../chaos/fleet.ts';

const AT = Date.parse('2026-01-01T00:00:10Z');

const fault = (component: Component): InjectedFault => ({
  component,
  kind: 'kill',
  instance: 'active',
  atMs: 1_000,
  downMs: 500,
  beganAt: AT - 6_000,
  countsFrom: AT,
  endedAt: AT,
});

const line = (code: string, time: string): string =>
  JSON.stringify({ level: 'warn', time, err: { code, message: 'm' } });

test('a code that a fault explains is no finding, another one is', () => {
  const logs = [
    line('SRC_CONNECTION_LOST', '2026-01-01T00:00:09.800Z'),
    line('SNK_FENCED', '2026-01-01T00:00:09.900Z'),
    line('KAFKA_GAP', '2026-01-01T00:00:20.000Z'),
  ].join('\n');
  expect(unexplained(logs, [fault('sourceDb')])).toEqual([
    'KAFKA_GAP was logged, which no fault explains',
  ]);
});

test('a server that was away is to be spoken of, at its time', () => {
  const late = line('KAFKA_UNAVAILABLE', '2026-01-01T00:05:00.000Z');
  expect(unexplained(late, [fault('broker')])).toEqual([
    'nobody said that broker was away at 1000',
  ]);
  const soon = line('KAFKA_UNAVAILABLE', '2026-01-01T00:00:12.000Z');
  expect(unexplained(soon, [fault('broker'), fault('api'), fault('minio')])).toEqual([]);
  expect(unexplained('', [{ ...fault('broker'), beganAt: AT - 1_000 }])).toEqual([]);
});

test('one that is killed again while it comes back was away once, and is spoken of once', () => {
  const first = fault('broker');
  const again = { ...first, atMs: 8_000, beganAt: AT + 1_000, endedAt: AT + 60_000 };
  const once = line('KAFKA_UNAVAILABLE', '2026-01-01T00:00:07.000Z');
  expect(unexplained(once, [again, first])).toEqual([]);
  const later = { ...again, beganAt: AT + 40_000, endedAt: AT + 100_000 };
  expect(unexplained(once, [first, later])).toEqual(['nobody said that broker was away at 8000']);
});
