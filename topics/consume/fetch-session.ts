import { NONE } from '../errors.ts';
import type { Assignment } from './assignment.ts';
import type { SessionStep } from './fetch-request.ts';

/** The broker has let go of the session, lost count of it, or a topic of it is another one now. */
const FETCH_SESSION_ID_NOT_FOUND = 70;
const INVALID_FETCH_SESSION_EPOCH = 71;
const FETCH_SESSION_TOPIC_ID_ERROR = 106;
const OF_SESSION: readonly number[] = [
  FETCH_SESSION_ID_NOT_FOUND,
  INVALID_FETCH_SESSION_EPOCH,
  FETCH_SESSION_TOPIC_ID_ERROR,
];

/** Of a request that asks the broker to remember what it names. */
const FIRST_EPOCH = 0;
const MAX_EPOCH = 0x7fff_ffff;

/** What the broker was told of a partition last. */
interface Told {
  readonly assignment: Assignment;
  readonly offset: number;
  readonly leaderEpoch: number;
}

/**
 * What a broker remembers of the partitions that one socket reads (KIP-227): requests name only what
 * has changed since the one before, and answers only what there is to say. Without it each of hundreds
 * of quiet partitions is in every request and answer, some hundred times a second. A broker that has no
 * room for a session gets full requests.
 */
export class FetchSession {
  private id = 0;
  private epoch = FIRST_EPOCH;
  private readonly told = new Map<string, Told>();

  /** What the next request must say for the broker to read exactly these. It counts as told; `reset`
   * when it is not known to have arrived. */
  next(wanted: readonly Assignment[]): SessionStep {
    // A broker without room for the session remembers nothing.
    if (this.id === 0) this.reset();
    const changed = wanted.filter((assignment) => this.tell(assignment));
    return { id: this.id, epoch: this.epoch, changed, forgotten: this.forgetOthers(wanted) };
  }

  private tell(assignment: Assignment): boolean {
    const { name, position, leaderEpoch } = assignment;
    const before = this.told.get(name);
    const isKnown =
      before !== undefined && before.offset === position && before.leaderEpoch === leaderEpoch;
    if (isKnown && before.assignment === assignment) return false;
    this.told.set(name, { assignment, offset: position, leaderEpoch });
    return !isKnown;
  }

  private forgetOthers(wanted: readonly Assignment[]): Assignment[] {
    if (this.told.size === wanted.length) return [];
    // By name: one that was assigned anew would be taken out again by what is said of the former one.
    const kept = new Set(wanted.map(({ name }) => name));
    const others = [...this.told.values()].filter(({ assignment }) => !kept.has(assignment.name));
    for (const { assignment } of others) this.told.delete(assignment.name);
    return others.map(({ assignment }) => assignment);
  }

  /** Whose answer it is; undefined for a partition that was not asked for. */
  assignmentOf(topicId: string, partition: number): Assignment | undefined {
    return this.told.get(partitionName(topicId, partition))?.assignment;
  }

  /** True when the answer counts; false when the session was not as the broker has it, and everything
   * must be asked for again. */
  accepts(answer: { readonly errorCode: number; readonly sessionId: number }): boolean {
    if (answer.errorCode !== NONE) {
      this.reset();
      if (answer.errorCode === FETCH_SESSION_ID_NOT_FOUND) this.id = 0;
      return !OF_SESSION.includes(answer.errorCode);
    }
    this.id = answer.sessionId;
    this.epoch = this.epoch === MAX_EPOCH ? 1 : this.epoch + 1;
    return true;
  }

  /** Begins anew; the id tells the broker which session that ends. */
  reset(): void {
    this.epoch = FIRST_EPOCH;
    this.told.clear();
  }
}

export function partitionName(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}
