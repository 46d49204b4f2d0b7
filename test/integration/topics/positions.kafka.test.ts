import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PositionState } from '../../../topics/positions/stored-position.ts';
import { arenaOf } from '../../support/record-arenas.ts';
import { clientContext, type ClientContext } from './client-context.ts';

let context: ClientContext;
let kafka: ClientContext['kafka'];
let openWriter: ClientContext['openWriter'];

beforeAll(async () => {
  context = await clientContext();
  ({ kafka, openWriter } = context);
});

afterAll(() => context[Symbol.asyncDispose]());

function stateOf(position: string, streams: Record<string, object>): PositionState {
  return { position, epoch: 1, details: { slot: 'mine', streams } };
}

test('positions are each source its own, and only committed ones count', async () => {
  expect(await kafka.positions.read('unknown')).toBeNull();
  const two = await openWriter('two');
  const other = await openWriter('two2');
  const ofOther = await kafka.positions.open('two2');
  await other.commit([ofOther.part(stateOf('9', { 'public.t': { from: '9' } }))]);
  const stored = await kafka.positions.open('two');
  await two.commit([stored.part(stateOf('1', { 'public.t': { from: '0' } }))]);
  await two.commit([stored.part(stateOf('2', { 'public.t': { from: '1' } }))]);
  await two.append([stored.part(stateOf('never', { 'public.t': { from: 'never' } }))]);
  // Opening the same id ends what the older writer left, so that the end is decided.
  const successor = await openWriter('two');
  expect(await kafka.positions.read('two')).toEqual(stateOf('2', { 'public.t': { from: '1' } }));
  const { topic, partition } = stored.part(stateOf('2', {}));
  await successor.commit([{ topic, partition, arena: arenaOf([['two', '']]) }]);
  expect(await kafka.positions.read('two')).toBeNull();
  await Promise.all([other, two, successor].map((writer) => writer.close()));
});

test('streams are stored when they change: more of them than a record can hold, and none again', async () => {
  const writer = await openWriter('wide');
  const stored = await kafka.positions.open('wide');
  const streams: Record<string, object> = {};
  for (let i = 0; i < 400; i++) {
    streams[`public.t${i}`] = { from: `${i}`, columns: 'x'.repeat(10_000) };
  }
  const written = async (state: PositionState): Promise<number> => {
    const part = stored.part(state);
    await writer.commit([part]);
    return part.arena.count;
  };
  expect(await written(stateOf('1', streams))).toBe(401);
  expect(await written(stateOf('2', { ...streams }))).toBe(1);
  const changed: Record<string, object> = { ...streams, 'public.t7': { from: 'later' } };
  delete changed['public.t8'];
  expect(await written(stateOf('3', changed))).toBe(3);
  expect(await kafka.positions.read('wide')).toEqual(stateOf('3', changed));

  const again = await kafka.positions.open('wide');
  const state = again.state as PositionState;
  expect(again.part({ ...state, position: '4' }).arena.count).toBe(1);
  // What a connector has made anew is stored anew; it may be equal all the same.
  expect(again.part(stateOf('4', structuredClone(changed) as never)).arena.count).toBe(400);
  await writer.close();
});

test('a state that was stored as one record is read, and stored apart from then on', async () => {
  const writer = await openWriter('old');
  const before = await kafka.positions.open('old');
  await writer.commit([before.part(stateOf('1', { gone: { from: '1' }, stays: { from: '1' } }))]);
  const { topic, partition } = before.part(stateOf('1', {}));
  const whole = stateOf('2', { stays: { from: '2' } });
  await writer.commit([{ topic, partition, arena: arenaOf([['old', JSON.stringify(whole)]]) }]);
  const stored = await kafka.positions.open('old');
  expect(stored.state).toEqual(whole);
  const part = stored.part({ ...whole, position: '3' });
  // Position, the stream, and the one that an older version left behind.
  expect(part.arena.count).toBe(3);
  await writer.commit([part]);
  expect(await kafka.positions.read('old')).toEqual({ ...whole, position: '3' });
  await writer.close();
});

test('a state without streams has none', async () => {
  const writer = await openWriter('plain');
  const stored = await kafka.positions.open('plain');
  const state = { position: '1', epoch: 1, details: { n: 1 } };
  await writer.commit([stored.part(state)]);
  expect(await kafka.positions.read('plain')).toEqual(state);
  await writer.close();
});
