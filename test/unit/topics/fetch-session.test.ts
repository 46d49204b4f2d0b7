import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Assignment } from '../../../topics/consume/assignment.ts';
import type { FetchTarget, SessionStep } from '../../../topics/consume/fetch-request.ts';
import { FetchSession } from '../../../topics/consume/fetch-session.ts';

const NO_SUCH_SESSION = 70;
const WRONG_EPOCH = 71;
const OTHER_TOPIC = 106;

/** What a broker keeps: named partitions are added or moved first, then forgotten ones go. */
class Broker {
  private id = 0;
  private epoch = 0;
  private nextId = 1;
  private partitions = new Map<string, number>();
  hasRoom = true;

  /** What it reads, by partition, or the number of an error. */
  answer({ id, epoch, changed, forgotten }: SessionStep): {
    errorCode: number;
    sessionId: number;
    reads: Map<string, number>;
  } {
    if (epoch === 0) {
      this.partitions = new Map();
      this.id = this.hasRoom ? this.nextId++ : 0;
      this.epoch = 0;
    } else if (id !== this.id) return this.refused(NO_SUCH_SESSION);
    else if (epoch !== this.epoch) return this.refused(WRONG_EPOCH);
    for (const target of changed) this.partitions.set(nameOf(target), target.position);
    for (const target of forgotten) this.partitions.delete(nameOf(target));
    this.epoch++;
    return { errorCode: 0, sessionId: this.id, reads: new Map(this.partitions) };
  }

  evict(): void {
    this.id = -1;
  }

  private refused(errorCode: number) {
    return { errorCode, sessionId: 0, reads: new Map<string, number>() };
  }
}

const nameOf = ({ topicId, partition }: FetchTarget): string => `${topicId}/${partition}`;

type Event = 'move' | 'assign' | 'unassign' | 'evict' | 'lose answer' | 'no room' | 'room' | 'none';

describe('a fetch session', () => {
  test('has the broker read exactly what is wanted, whatever happens', () => {
    const events = fc.array(
      fc.tuple(
        fc.constantFrom<Event[]>(
          ...(['move', 'assign', 'unassign', 'evict', 'lose answer'] as const),
          ...(['no room', 'room', 'none'] as const),
        ),
        fc.nat(5),
        fc.nat(3),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(events, (steps) => {
        const session = new FetchSession();
        const broker = new Broker();
        const wanted = new Map<number, Assignment>();
        for (const [event, partition, position] of steps) {
          const assignment = wanted.get(partition);
          if (event === 'move' && assignment !== undefined) assignment.position += position;
          if (event === 'assign') {
            wanted.delete(partition);
            wanted.set(partition, new Assignment('t', partition, 'id', position));
          }
          if (event === 'unassign') wanted.delete(partition);
          if (event === 'evict') broker.evict();
          if (event === 'no room') broker.hasRoom = false;
          if (event === 'room') broker.hasRoom = true;
          const assignments = [...wanted.values()];
          let answer = broker.answer(session.next(assignments));
          if (event === 'lose answer') {
            session.reset();
            continue;
          }
          // One refusal is the worst: what is asked for after it begins anew.
          if (!session.accepts(answer)) {
            answer = broker.answer(session.next(assignments));
            expect(session.accepts(answer)).toBe(true);
          }
          const expected = assignments.map((a): [string, number] => [a.name, a.position]);
          expect(new Map([...answer.reads].toSorted())).toEqual(new Map(expected.toSorted()));
          for (const each of assignments) {
            expect(session.assignmentOf('id', each.partition)).toBe(each);
          }
        }
      }),
    );
  });

  test('names only what has changed', () => {
    const session = new FetchSession();
    const [first, second, third] = [0, 1, 2].map((n) => new Assignment('t', n, 'id', 10)) as [
      Assignment,
      Assignment,
      Assignment,
    ];
    const step = (assignments: readonly Assignment[]) => {
      const { id, epoch, changed, forgotten } = session.next(assignments);
      expect(session.accepts({ errorCode: 0, sessionId: 7 })).toBe(true);
      return { id, epoch, changed: changed.map(nameOf), forgotten: forgotten.map(nameOf) };
    };
    expect(step([first, second])).toEqual({
      id: 0,
      epoch: 0,
      changed: ['id/0', 'id/1'],
      forgotten: [],
    });
    expect(step([first, second])).toEqual({ id: 7, epoch: 1, changed: [], forgotten: [] });
    second.position = 12;
    expect(step([second, third])).toEqual({
      id: 7,
      epoch: 2,
      changed: ['id/1', 'id/2'],
      forgotten: ['id/0'],
    });
    third.leaderEpoch = 4;
    expect(step([second, third])).toMatchObject({ epoch: 3, changed: ['id/2'] });
  });

  test.each([NO_SUCH_SESSION, WRONG_EPOCH, OTHER_TOPIC])(
    'begins anew when the broker answers %d, and leaves other errors to the reader',
    (errorCode) => {
      const session = new FetchSession();
      const assignment = new Assignment('t', 0, 'id', 10);
      session.next([assignment]);
      session.accepts({ errorCode: 0, sessionId: 7 });
      session.next([assignment]);
      expect(session.accepts({ errorCode, sessionId: 0 })).toBe(false);
      expect(session.next([assignment])).toMatchObject({ epoch: 0, changed: [{ position: 10 }] });
      expect(session.accepts({ errorCode: 29, sessionId: 0 })).toBe(true);
    },
  );
});
