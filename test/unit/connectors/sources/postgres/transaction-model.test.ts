import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventWriter, StreamLane } from '../../../../../connectors/capture/event-writer.ts';
import { Outbox } from '../../../../../connectors/capture/outbox.ts';
import { RowCodec } from '../../../../../connectors/capture/row-codec.ts';
import {
  CaptureState,
  type Mark,
} from '../../../../../connectors/sources/postgres/capture-state.ts';
import { encodeInteger } from '../../../../../connectors/sources/postgres/encode-numbers.ts';
import {
  detailsOf,
  lsnOfText,
  lsnText,
} from '../../../../../connectors/sources/postgres/position.ts';
import { WalStream } from '../../../../../connectors/sources/postgres/wal-stream.ts';
import type { SourceState } from '../../../../../connectors/spi/source.ts';
import { valueAvroSchema } from '../../../../../schemas/envelope/avro-schema.ts';
import { ChangeCursor, ChangeSchema } from '../../../../../schemas/envelope/change-decoder.ts';
import type { RecordArena } from '../../../../../schemas/envelope/record-arena.ts';
import type { StreamSchema } from '../../../../../schemas/envelope/stream-schema.ts';
import { buffersOf } from '../../../../support/buffers.ts';

/**
 * The log as the server sends it, the real assembly of transactions into batches, and a Kafka that is a
 * list: whatever is cut where, whoever crashes when and forgets everything, each event is in the list
 * once, in order (invariants 2, 6 and 7).
 */
const STREAM = { namespace: 'public', name: 't' };
const OID = 4711;
const SCHEMA: StreamSchema = {
  stream: STREAM,
  key: ['id'],
  columns: [{ name: 'id', type: { kind: 'int32', native: 'integer' }, inKey: true }],
};
const CODEC = new RowCodec(SCHEMA, { key: 1, value: 2, truncateKey: 3 }, [encodeInteger]);
const EVENTS = new ChangeSchema(2, valueAvroSchema('x.public.t', SCHEMA));

interface Transaction {
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
  readonly xid: number;
  readonly messages: readonly Buffer[];
}

/** Rows per transaction become the log; keys are unique in all of it. */
function logOf(sizes: readonly number[]): Transaction[] {
  let lsn = 100n;
  let id = 0;
  return sizes.map((rows, i) => {
    const commitLsn = (lsn += BigInt(rows + 1) * 8n);
    const endLsn = (lsn += 8n);
    const xid = 1000 + i;
    const inserts = Array.from({ length: rows }, () => insertOf(++id));
    const messages = [begin(commitLsn, xid), RELATION, ...inserts, commit(commitLsn, endLsn)];
    return { commitLsn, endLsn, xid, messages };
  });
}

function begin(commitLsn: bigint, xid: number): Buffer {
  const message = Buffer.alloc(21);
  message[0] = 0x42;
  message.writeBigUInt64BE(commitLsn, 1);
  message.writeUInt32BE(xid, 17);
  return message;
}

function commit(commitLsn: bigint, endLsn: bigint): Buffer {
  const message = Buffer.alloc(26);
  message[0] = 0x43;
  message.writeBigUInt64BE(commitLsn, 2);
  message.writeBigUInt64BE(endLsn, 10);
  return message;
}

function insertOf(id: number): Buffer {
  const text = Buffer.from(String(id));
  const head = Buffer.alloc(13);
  head[0] = 0x49;
  head.writeUInt32BE(OID, 1);
  head[5] = 0x4e;
  head.writeUInt16BE(1, 6);
  head[8] = 0x74;
  head.writeUInt32BE(text.length, 9);
  return Buffer.concat([head, text]);
}

const RELATION = (() => {
  const numbers = Buffer.alloc(5);
  numbers[0] = 0x52;
  numbers.writeUInt32BE(OID, 1);
  const column = Buffer.alloc(8);
  column.writeUInt32BE(23, 0);
  column.writeInt32BE(-1, 4);
  const names = Buffer.from('public\0t\0d\0\u0001\u0001id\0');
  return Buffer.concat([numbers, names, column]);
})();

interface Event {
  readonly partition: number;
  readonly identity: string;
}

/** What survives a crash. */
class Kafka {
  state: SourceState;
  /** What the server was told that it may forget. */
  confirmed = 0n;
  readonly events: Event[] = [];

  constructor() {
    this.state = stateOf(new Life(null, 0n, []).captureState);
  }

  commit(events: readonly Event[], state: SourceState): void {
    this.events.push(...events);
    this.state = state;
  }
}

function stateOf(capture: CaptureState): SourceState {
  return capture.at({ position: 1n, committedAtMs: 0, chunk: null });
}

/** One life of the process: everything in it is forgotten at a crash. */
class Life {
  readonly captureState: CaptureState;
  readonly outbox = new Outbox<Mark>(buffersOf(1024 * 1024));
  readonly wal: WalStream;
  private readonly toSend: Buffer[];

  constructor(stored: SourceState | null, confirmed: bigint, log: readonly Transaction[]) {
    const origin = { connector: 'postgres', serverName: 'x', database: 'd' };
    const details = stored === null ? null : detailsOf(stored);
    this.captureState = new CaptureState({
      epoch: 1,
      slot: 's',
      publication: 'p',
      identity: { systemId: '1', timeline: 1 },
      anchor: details?.anchor ?? { lsn: lsnText(0n), xid: 0, tsUs: 0 },
      lanes: [new StreamLane(STREAM, 2, origin)],
      marks: details?.streams ?? { 'public.t': { from: lsnText(0n), done: true } },
    });
    const position = stored === null ? 1n : lsnOfText(stored.position);
    const anchor = lsnOfText(this.captureState.anchor.lsn);
    const from = confirmed > anchor ? confirmed : anchor;
    const requestedStart = from < position ? from : position;
    this.wal = new WalStream({
      position,
      requestedStart,
      chunk: details?.chunk ?? null,
      state: this.captureState,
      outbox: this.outbox,
      writer: new EventWriter(this.outbox, 1_000_000, 1),
      errands: {
        compile: (relations) => relations.forEach((relation) => (relation.codec = CODEC)),
        complete: () => expect.unreachable(),
      },
    });
    // The server sends whole transactions, those it was told to forget never again.
    const sent = log.filter(({ commitLsn }) => commitLsn >= requestedStart);
    this.toSend = sent.flatMap(({ messages }) => messages);
  }

  get done(): boolean {
    return this.toSend.length === 0;
  }

  receive(messages: number): void {
    for (const message of this.toSend.splice(0, messages)) {
      this.wal.message(message, 0, message.length);
    }
  }

  /** As when the outbox is full in the middle of a transaction. */
  cut(): void {
    if (this.wal.inTransaction && !this.outbox.sealed) this.wal.sealChunk();
  }

  take(): { events: Event[]; state: SourceState } | null {
    if (!this.outbox.ready) return null;
    const taken = this.outbox.take();
    if (taken === null || taken.mark === 'unfinished') return null;
    const state = this.captureState.at(taken.mark);
    const events = taken.parts.flatMap(({ arena, partition }) => eventsOf(arena, partition));
    this.outbox.recycle(taken.parts);
    return { events, state };
  }
}

function eventsOf(arena: RecordArena, partition: number): Event[] {
  const change = new ChangeCursor();
  return Array.from({ length: arena.count }, (_, i) => {
    const from = arena.keyEnds[i] as number;
    change.decode(EVENTS, arena.out.bytes, from, arena.valueEnds[i] as number);
    return { partition, identity: `${change.lsn}/${change.seq}` };
  });
}

/** `lost`: the commit happened and its answer did not arrive. `aborted`: it did not happen. */
type Step =
  | { readonly does: 'receive'; readonly messages: number }
  | { readonly does: 'cut' | 'commit' | 'acknowledge' | 'lost' | 'aborted' | 'crash' };

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant('receive' as const),
      messages: fc.integer({ min: 1, max: 9 }),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ does: 'cut' as const }) },
  { weight: 4, arbitrary: fc.constant({ does: 'commit' as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constantFrom(
        'acknowledge' as const,
        'lost' as const,
        'aborted' as const,
        'crash' as const,
      ),
    }),
  },
);

function run(log: readonly Transaction[], steps: readonly Step[]): Kafka {
  const kafka = new Kafka();
  const reborn = (): Life => new Life(kafka.state, kafka.confirmed, log);
  let life = reborn();
  const commit = (): void => {
    const batch = life.take();
    if (batch !== null) kafka.commit(batch.events, batch.state);
  };
  for (const step of steps) {
    switch (step.does) {
      case 'receive':
        life.receive(step.messages);
        break;
      case 'cut':
        life.cut();
        break;
      case 'commit':
        commit();
        break;
      case 'acknowledge':
        if (life.wal.replay.verified) kafka.confirmed = lsnOfText(kafka.state.position);
        break;
      case 'lost':
        commit();
        life = reborn();
        break;
      case 'aborted':
        life.take();
        life = reborn();
        break;
      case 'crash':
        life = reborn();
    }
  }
  life = reborn();
  while (!life.done) {
    life.receive(1);
    commit();
  }
  return kafka;
}

describe('transactions of the log, assembled, cut and repeated', () => {
  it('reach the topics once and in order, whatever crashes when', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.array(STEP, { maxLength: 60 }), (rows, steps) => {
        const log = logOf(rows);
        const { events } = run(log, steps);
        const wanted = log.flatMap(({ commitLsn }, i) =>
          Array.from({ length: rows[i] as number }, (_, seq) => `${commitLsn}/${seq + 1}`),
        );
        const order = new Map(wanted.map((identity, i) => [identity, i]));
        expect(events.map(({ identity }) => identity).toSorted()).toEqual(wanted.toSorted());
        for (const partition of [0, 1]) {
          const places = events
            .filter((event) => event.partition === partition)
            .map(({ identity }) => order.get(identity) as number);
          expect(places).toEqual(places.toSorted((a, b) => a - b));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('are refused when the server repeats another history', () => {
    const log = logOf([3, 2]);
    const kafka = run(log, [{ does: 'receive', messages: 50 }, { does: 'commit' }]);
    const other = logOf([3, 2]).map((each) => ({ ...each, messages: each.messages.map(forged) }));
    const life = new Life(kafka.state, 0n, other);
    expect(() => life.receive(50)).toThrow(/restored from an older copy/);
  });
});

/** The same transaction under another id. */
function forged(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  if (copy[0] === 0x42) copy.writeUInt32BE(9, 17);
  return copy;
}

describe('places in the log', () => {
  it('are ordered as text as they are as numbers', () => {
    const lsn = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
    fc.assert(
      fc.property(lsn, lsn, (a, b) => {
        expect(lsnText(a) < lsnText(b)).toBe(a < b);
        expect(lsnOfText(lsnText(a))).toBe(a);
      }),
    );
  });
});
