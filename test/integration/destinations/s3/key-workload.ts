import { column, MemoryTopic, type Row } from './memory-topic.ts';

const ID = column('id', 'int64', {}, true);
const TEXT = column('text', 'string');
const BODY = column('body', 'string');
const AMOUNT = column('amount', 'decimal', { precision: 12, scale: 2 });
const ADDED = {
  ...column('added', 'string'),
  initial: { text: 'there before', avro: Buffer.from('\u0018there before').toString('base64') },
};

/** A small repeatable generator (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A row as the readers print it: text, body, amount, added. */
export type Printed = readonly [string | null, string | null, string | null, string | null];

export interface Workload {
  readonly topic: MemoryTopic;
  /** The rows after the first n records, by id. */
  rowsAt(n: number): Map<bigint, Printed>;
}

/**
 * Changes of a table with few keys: inserts, updates (a third without `body`, which is large),
 * deletes, re-inserts, keys that change, repeats of old events, truncates, and a column that is added
 * half-way with a value for the rows that are there.
 */
export function randomChanges(seed: number, count: number, keys: number): Workload {
  const random = randomOf(seed);
  const topic = new MemoryTopic({ mode: 'append_dedup' });
  topic.register(1, [ID, TEXT, BODY, AMOUNT]);
  topic.register(2, [ID, TEXT, BODY, AMOUNT, ADDED]);
  const rows = new Map<bigint, Row>();
  const history: Map<bigint, Printed>[] = [printed(rows)];
  const snap = (): void => {
    while (history.length <= topic.end) history.push(printed(rows));
  };
  const insert = (id: bigint): void => {
    const row: Row = { id, text: `t${topic.end}`, body: `b${topic.end}`, amount: `${id}.5` };
    if (isWide()) row['added'] = `a${topic.end}`;
    rows.set(id, row);
    topic.append(schema(), { after: row });
  };
  const isWide = (): boolean => topic.end >= count / 2;
  const schema = (): number => (isWide() ? 2 : 1);
  const remove = (id: bigint): void => {
    const nothing = { text: null, body: null, amount: null, added: null };
    rows.delete(id);
    topic.append(schema(), { op: 'd', before: { ...nothing, id } });
    snap();
    topic.appendTombstone({ id });
  };
  while (topic.end < count) {
    if (isWide()) for (const row of rows.values()) row['added'] ??= 'there before';
    const id = BigInt(Math.floor(random() * keys));
    const row = rows.get(id);
    const dice = random();
    if (row === undefined) insert(id);
    else if (dice < 0.15) remove(id);
    else if (dice < 0.25) {
      remove(id);
      snap();
      const other = BigInt(Math.floor(random() * keys));
      if (!rows.has(other)) insert(other);
    } else if (dice < 0.254) {
      rows.clear();
      topic.append(schema(), { op: 't' });
    } else if (dice < 0.3) {
      // A repeat of long ago counts for nothing.
      topic.append(schema(), {
        op: 'u',
        after: { ...row, text: 'old' },
        lsn: 0n,
        seq: 0,
        epoch: 0,
      });
    } else {
      const lacksBody = dice < 0.6;
      const next: Row = { ...row, text: `t${topic.end}` };
      if (!lacksBody) next['body'] = dice < 0.65 ? null : `b${topic.end}`;
      rows.set(id, next);
      const after = lacksBody ? { ...next, body: null } : next;
      topic.append(schema(), { op: 'u', after, unchanged: lacksBody ? ['body'] : null });
    }
    snap();
  }
  snap();
  return { topic, rowsAt: (n) => history[n] as Map<bigint, Printed> };
}

function printed(rows: ReadonlyMap<bigint, Row>): Map<bigint, Printed> {
  return new Map(
    [...rows].map(([id, row]) => [
      id,
      ['text', 'body', 'amount', 'added'].map((name) => {
        const value = row[name] as string | null | undefined;
        return name === 'amount' && typeof value === 'string' ? `${value}0` : (value ?? null);
      }) as unknown as Printed,
    ]),
  );
}
