import { setTimeout as delay } from 'node:timers/promises';
import { randomOf } from './fault-schedule.ts';

/**
 * What an application does to the source while it is tortured. Every transaction also writes what it
 * did into `truth`, so that the truth needs nothing from the product and a commit of unknown outcome
 * is settled by itself: a change and its line in `truth` are there together or not at all.
 */
export const STREAMS = ['counter', 'account_a', 'account_b', 'churn', 'pulse'] as const;

export const COUNTERS = 400;
export const ACCOUNTS = 60;
export const BULK_ROWS = 5_000;
export const BULK_FROM = 10_000_000;
const WRITERS = 4;
const CHURN_KEYS = 60;
/** Keys that a key change moves to and back from. */
const ELSEWHERE = 1_000_000;

/**
 * A session with the source's server that changes rows. A change of `counter`, an account or `pulse`
 * notes itself; one of `churn` leaves its row's hash as it was, which `note` and `rehash` see to.
 */
export interface WriterSession {
  /** A statement of transaction control. */
  run(statement: string): Promise<unknown>;
  bump(keys: readonly number[]): Promise<unknown>;
  nextTransfer(): Promise<string>;
  pay(
    table: 'account_a' | 'account_b',
    key: number,
    amount: number,
    transfer: string,
  ): Promise<unknown>;
  pulse(atMs: number): Promise<unknown>;
  /** These tell whether there was such a row, or room for it. */
  insert(key: string): Promise<boolean>;
  setNote(key: string, note: string): Promise<boolean>;
  setBig(key: string): Promise<boolean>;
  move(from: string, to: string): Promise<boolean>;
  /** Deletes a row and notes it. */
  remove(key: string): Promise<unknown>;
  /** Notes that a key has no row any more. */
  noteGone(key: string): Promise<unknown>;
  /** Notes the row of churn as the last statement left it. */
  note(key: string): Promise<unknown>;
  /** Gives the row a hash over all its cells, and notes it. */
  rehash(key: string): Promise<unknown>;
  /** Deletes all bulk rows, or tells that there are none. */
  removeBulk(): Promise<boolean>;
  insertBulk(stamp: string): Promise<unknown>;
  /** Adds a column to churn, and sets it in row 0, with the notes; is a transaction by itself. */
  addColumn(name: string, value: string): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface WorkloadFigures {
  transactions: number;
  rolledBack: number;
  failed: number;
}

/** Writers that go on until they are ended and rest while they are paused. */
export class Workload {
  readonly figures: WorkloadFigures = { transactions: 0, rolledBack: 0, failed: 0 };
  private readonly open: () => Promise<WriterSession>;
  private readonly seed: number;
  private readonly hasFixedSchema: boolean;
  private readonly running: Promise<void>[] = [];
  private ended = false;
  private gate: Promise<void> = Promise.resolve();
  private openGate: () => void = () => undefined;
  private busy = 0;
  private added = 0;

  constructor(
    open: () => Promise<WriterSession>,
    options: { readonly seed: number; readonly hasFixedSchema?: boolean },
  ) {
    this.open = open;
    this.seed = options.seed;
    this.hasFixedSchema = options.hasFixedSchema ?? false;
  }

  start(): void {
    for (let writer = 0; writer < WRITERS; writer++) {
      const random = randomOf(this.seed * 31 + writer);
      this.run((session) => shortTransaction(session, writer, random), 4);
    }
    const random = randomOf(this.seed * 31 + 17);
    this.run((session) => this.longTransaction(session, random), 200);
    this.run((session) => committed(session, () => bulk(session)), 12_000);
    if (!this.hasFixedSchema) {
      this.run((session) => session.addColumn(`extra_${++this.added}`, String(random())), 20_000);
    }
    this.run((session) => committed(session, () => session.pulse(Date.now())), 150);
  }

  /** Resolves when nothing is in flight. */
  async pause(): Promise<void> {
    this.gate = new Promise((resolve) => (this.openGate = resolve));
    while (this.busy > 0) await delay(20);
  }

  resume(): void {
    this.openGate();
  }

  async end(): Promise<void> {
    this.ended = true;
    this.openGate();
    await Promise.all(this.running);
  }

  private run(transaction: (session: WriterSession) => Promise<unknown>, restMs: number): void {
    this.running.push(this.loop(transaction, restMs));
  }

  private async loop(
    transaction: (session: WriterSession) => Promise<unknown>,
    restMs: number,
  ): Promise<void> {
    let session: WriterSession | null = null;
    while (!this.ended) {
      await this.gate;
      if (this.ended) break;
      this.busy++;
      try {
        session ??= await this.open();
        await transaction(session);
        this.figures.transactions++;
      } catch {
        // The server was killed, or two transactions met in a deadlock: truth knows what happened.
        this.figures.failed++;
        await session?.close().catch(() => undefined);
        session = null;
        await delay(100);
      } finally {
        this.busy--;
      }
      await this.rest(restMs);
    }
    await session?.close().catch(() => undefined);
  }

  private async rest(ms: number): Promise<void> {
    const until = Date.now() + ms;
    while (!this.ended && Date.now() < until) await delay(Math.min(ms, 100));
  }

  /** Open for seconds while others commit; now and then a part of it, or all of it, is taken back. */
  private async longTransaction(session: WriterSession, random: () => number): Promise<void> {
    await session.run('begin');
    const keys = (): number[] => [COUNTERS - Math.floor(random() * 8) * WRITERS];
    for (let i = 0; i < 4 && !this.ended; i++) {
      await session.bump(keys());
      await session.run('savepoint part');
      await session.bump(keys());
      if (random() < 0.4) await session.run('rollback to savepoint part');
      await this.rest(random() * 1_500);
    }
    const back = random() < 0.2;
    if (back) this.figures.rolledBack++;
    await session.run(back ? 'rollback' : 'commit');
  }
}

async function committed(session: WriterSession, work: () => Promise<unknown>): Promise<void> {
  await session.run('begin');
  await work();
  await session.run('commit');
}

function shortTransaction(
  session: WriterSession,
  writer: number,
  random: () => number,
): Promise<void> {
  const dice = random();
  return committed(session, () => {
    if (dice < 0.4) return session.bump([0, 0, 0].map(() => owned(writer, random, COUNTERS)));
    return dice < 0.65 ? transfer(session, random) : churn(session, writer, random);
  });
}

/** One large transaction: inserts what is not there, deletes what is. */
async function bulk(session: WriterSession): Promise<void> {
  if (!(await session.removeBulk())) await session.insertBulk(String(Date.now()));
}

function owned(writer: number, random: () => number, keys: number): number {
  return Math.floor((random() * (keys - 40)) / WRITERS) * WRITERS + writer + 1;
}

async function transfer(session: WriterSession, random: () => number): Promise<void> {
  const amount = 1 + Math.floor(random() * 50);
  const pick = (): number => 1 + Math.floor(random() * ACCOUNTS);
  const id = await session.nextTransfer();
  await session.pay('account_a', pick(), -amount, id);
  await session.pay('account_b', pick(), amount, id);
}

async function churn(session: WriterSession, writer: number, random: () => number): Promise<void> {
  const key = String(WRITERS * (1 + Math.floor(random() * CHURN_KEYS)) + writer);
  const other = String(Number(key) + ELSEWHERE);
  const dice = random();
  if (dice < 0.3) await changed(session, key, session.insert(key));
  else if (dice < 0.55) await changed(session, key, session.setNote(key, `note ${random()}`));
  else if (dice < 0.65) await changed(session, key, session.setBig(key));
  else if (dice < 0.75) await session.remove(key);
  else if (dice < 0.85) {
    await session.remove(key);
    await changed(session, key, session.insert(key));
  } else if (dice < 0.9) await move(session, key, other);
  else if (dice < 0.95) await move(session, other, key);
  else await swap(session, key, other);
}

/** A change of a row, then its new hash: two events of one row in one transaction, both true. */
async function changed(
  session: WriterSession,
  key: string,
  change: Promise<boolean>,
): Promise<void> {
  if (!(await change)) return;
  await session.note(key);
  await session.rehash(key);
}

async function move(session: WriterSession, from: string, to: string): Promise<void> {
  if (!(await session.move(from, to))) return;
  await session.noteGone(from);
  await session.note(to);
  await session.rehash(to);
}

/** Both keys trade places by way of a third one. */
async function swap(session: WriterSession, one: string, other: string): Promise<void> {
  await move(session, one, `-${one}`);
  await move(session, other, one);
  await move(session, `-${one}`, other);
}
