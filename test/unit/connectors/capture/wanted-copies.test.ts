import { describe, expect, it } from 'vitest';
import { StreamLane } from '../../../../connectors/capture/event-writer.ts';
import { StreamStates, type StreamMark } from '../../../../connectors/capture/stream-states.ts';
import { wantedCopies } from '../../../../connectors/capture/wanted-copies.ts';

const done = (copy?: string): StreamMark => ({
  from: '0A',
  done: true,
  ...(copy === undefined ? {} : { copy }),
});

/** Streams `s.<name>` with the copy that is wanted of each. */
function open(wanted: Record<string, string | undefined>, marks: Record<string, StreamMark>) {
  const streams = Object.entries(wanted).map(([name, copy]) => ({
    stream: { namespace: 's', name },
    partitions: 1,
    ...(copy === undefined ? {} : { copy }),
  }));
  const origin = { connector: 'test', serverName: 'srv', database: 'db' };
  const lanes = streams.map(({ stream }) => new StreamLane(stream, 1, origin));
  const copies = wantedCopies(streams, lanes, { epoch: 4, marks });
  return { copies, states: new StreamStates(lanes, copies.marks) };
}

describe('the copies that are wanted', () => {
  it('leave alone what goes on, first copies and asked ones alike', () => {
    const marks = { 's.a': done(), 's.b': done('7') };
    const { copies, states } = open({ a: undefined, b: '7' }, marks);
    expect(copies).toEqual({ marks, epoch: 4, afresh: false });
    expect(states.marks).toEqual(marks);
  });

  it('forget one stream, its stop included, and raise the epoch', () => {
    const stopped = { code: 'EVT_TOO_LARGE', message: 'm', position: '0B' } as const;
    const { copies, states } = open(
      { a: '8', b: undefined },
      { 's.a': { ...done('7'), stopped }, 's.b': done() },
    );
    expect(copies).toMatchObject({ epoch: 5, afresh: false });
    expect(states.uncopied.map((lane) => lane.label)).toEqual(['s.a']);
    expect(states.marks['s.a']).toEqual({ from: '0A', done: false, partial: true, copy: '8' });
  });

  it('are fulfilled by what is stored then, so that a restart asks for nothing', () => {
    const first = open({ a: '8' }, { 's.a': done('7') });
    first.states.setMark('s.a', done());
    const again = open({ a: '8' }, first.states.marks);
    expect(again.copies).toMatchObject({ epoch: 4, afresh: false });
    expect(again.states.uncopied).toEqual([]);
  });

  it('begin the source afresh when no stream goes on, beside new ones too', () => {
    expect(open({ a: '8', b: '8' }, { 's.a': done(), 's.b': done() }).copies.afresh).toBe(true);
    expect(open({ a: '8', fresh: undefined }, { 's.a': done() }).copies.afresh).toBe(true);
    expect(open({ fresh: '8' }, {}).copies).toEqual({ marks: {}, epoch: 4, afresh: false });
  });
});
