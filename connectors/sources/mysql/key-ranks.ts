import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { ColumnKind } from '../../../schemas/values/column-type.ts';
import type { ColumnFacts, TableFacts } from './catalog.ts';
import { quoteLiteral, type SideSession } from './session.ts';

/** What the order of a key's column depends on, beside its values. It is stored with a copy: in another
 * order its parts mean nothing. */
export interface KeyPartOrder {
  readonly type: string;
  readonly charset?: string;
  readonly collation?: string;
  readonly members?: readonly string[];
}

export type Ask = SideSession['query'];

/** An event's key, read column by column. */
class KeyBytes {
  private readonly bytes: Buffer;
  private pos = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  whole(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.pos++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return (value >> 1n) ^ -(value & 1n);
  }

  run(): Buffer {
    const length = Number(this.whole());
    this.pos += length;
    return this.bytes.subarray(this.pos - length, this.pos);
  }
}

type Compare = (a: KeyBytes, b: KeyBytes, part: number) => number;

const byNumber: Compare = (a, b) => sign(a.whole(), b.whole());
const byBytes: Compare = (a, b) => a.run().compare(b.run());
/** Both have the column's own number of digits behind the point. */
const byDigits: Compare = (a, b) => sign(digits(a.run()), digits(b.run()));
const bySpan: Compare = (a, b) => sign(micros(a.run()), micros(b.run()));

const digits = (text: Buffer): bigint => BigInt(text.toString('latin1').replace('.', ''));

/** Of a TIME as events carry it: `PT-838H-59M-59.5S`. */
function micros(text: Buffer): bigint {
  const part = (unit: string): number =>
    Number(new RegExp(`(-?[0-9.]+)${unit}`).exec(text.toString('latin1'))?.[1] ?? 0);
  return BigInt(Math.round((part('H') * 3600 + part('M') * 60 + part('S')) * 1e6));
}

function sign(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const COMPARE: Partial<Record<ColumnKind, Compare>> = {
  int16: byNumber,
  int32: byNumber,
  int64: byNumber,
  date: byNumber,
  timestamp: byNumber,
  decimal: byDigits,
  timestamptz: byBytes,
  bytes: byBytes,
  bits: byBytes,
  interval: bySpan,
};

/** ENUM and SET are kept in the order of their numbers. A member that is not among them was added
 * later, hence behind them. */
function byMembers({ type, members = [] }: KeyPartOrder): Compare {
  const numbers = new Map(members.map((name, index) => [name, index]));
  const place = (name: string): number => numbers.get(name) ?? members.length;
  const number = (text: string): bigint => {
    if (text === '') return 0n;
    if (type === 'enum') return BigInt(place(text) + 1);
    return text.split(',').reduce((bits, name) => bits | (1n << BigInt(place(name))), 0n);
  };
  return (a, b) => sign(number(a.run().toString()), number(b.run().toString()));
}

/** Sets whose texts become UTF-8 and the same bytes again: the server is asked about the text that an
 * event has, and has to see the one that the table has. */
const ROUND_TRIP =
  /^(utf8|utf8mb3|utf8mb4|ucs2|utf16|utf16le|utf32|ascii|latin[1257]|cp125[0167]|koi8[ru]|hebrew|greek|cp85[02]|cp866)$/;
const ADDRESS = /^(uuid|inet4|inet6)$/;

/** A value of the column as SQL, compared as the column is. Null when there is none. */
function constantOf({ type, charset, collation }: KeyPartOrder): ((text: Buffer) => string) | null {
  if (ADDRESS.test(type)) {
    return (text) => `CAST(${quoteLiteral(text.toString())} AS ${type.toUpperCase()})`;
  }
  if (charset === undefined || collation === undefined || !ROUND_TRIP.test(charset)) return null;
  return (text) =>
    `CONVERT(_utf8mb4 X'${text.toString('hex')}' USING ${charset}) COLLATE ${collation}`;
}

function orderOfColumn({ dataType, charset, collation, members }: ColumnFacts): KeyPartOrder {
  if (/^(enum|set)$/.test(dataType)) return { type: dataType, members };
  if (charset === null || collation === null) return { type: dataType };
  return { type: dataType, charset, collation };
}

/** The orders of a table's key columns. */
export function keyOrderOf(table: TableFacts): KeyPartOrder[] {
  return table.key.flatMap((name) => {
    const column = table.columns.find((each) => each.name === name);
    return column === undefined ? [] : [orderOfColumn(column)];
  });
}

const KNOWN_SIGNS = 20_000;
/** Comparisons that one question to the server holds. */
const ASKED_AT_A_TIME = 200;

/** Keys as events carry them, in the order that the table has. How texts lie to each other only the
 * server tells: `learn` asks it before `rank` is told. */
export class KeyRanks {
  /** Whether anything has to be asked. */
  readonly asks: boolean;
  private readonly parts: readonly Compare[];
  private readonly signs = new Map<string, number>();
  private missing: Map<string, string> | null = null;

  private constructor(parts: readonly Compare[], constants: readonly unknown[]) {
    this.parts = parts;
    this.asks = constants.length > 0;
  }

  /** Null for a table without a key, or one whose keys cannot be compared. */
  static of(schema: StreamSchema, orders: readonly KeyPartOrder[]): KeyRanks | null {
    if (schema.key.length === 0) return null;
    const constants: ((text: Buffer) => string)[] = [];
    const parts: Compare[] = [];
    const asked =
      (constant: (text: Buffer) => string): Compare =>
      (a, b, part) =>
        ranks.asked(constant, part, a.run(), b.run());
    for (const [index, name] of schema.key.entries()) {
      const kind = schema.columns.find((column) => column.name === name)?.type.kind ?? 'string';
      const order = orders[index] ?? { type: '' };
      const constant = constantOf(order);
      // An empty member has the text of an invalid value.
      if (order.members !== undefined && !order.members.includes('')) parts.push(byMembers(order));
      else if (COMPARE[kind] !== undefined) parts.push(COMPARE[kind]);
      else if (constant === null) return null;
      else {
        constants.push(constant);
        parts.push(asked(constant));
      }
    }
    const ranks = new KeyRanks(parts, constants);
    return ranks;
  }

  /** How many of the bounds, which ascend, lie before the key. */
  rank(key: Buffer, bounds: readonly Buffer[]): number {
    let rank = 0;
    while (rank < bounds.length && this.compare(key, bounds[rank] as Buffer) > 0) rank++;
    return rank;
  }

  private compare(a: Buffer, b: Buffer): number {
    const [x, y] = [new KeyBytes(a), new KeyBytes(b)];
    for (const [index, part] of this.parts.entries()) {
      const order = part(x, y, index);
      if (order !== 0) return order;
    }
    return 0;
  }

  private asked(constant: (text: Buffer) => string, part: number, a: Buffer, b: Buffer): number {
    if (a.equals(b)) return 0;
    const pair = `${part} ${a.toString('base64')} ${b.toString('base64')}`;
    const known = this.signs.get(pair);
    if (known !== undefined) return known;
    if (this.missing === null) throw new Error('the order of two keys was not asked for');
    const [x, y] = [constant(a), constant(b)];
    this.missing.set(pair, `(${x} > ${y}) - (${x} < ${y})`);
    return 0;
  }

  /** Makes `rank` know these keys among these bounds. */
  async learn(ask: Ask, keys: readonly Buffer[], bounds: readonly Buffer[]): Promise<void> {
    if (!this.asks) return;
    if (this.signs.size > KNOWN_SIGNS) this.signs.clear();
    this.missing = new Map();
    for (const key of keys) for (const bound of bounds) this.compare(key, bound);
    const missing = [...this.missing];
    this.missing = null;
    for (let from = 0; from < missing.length; from += ASKED_AT_A_TIME) {
      const some = missing.slice(from, from + ASKED_AT_A_TIME);
      const columns = some.map(([, sql], index) => `${sql} AS c${index}`);
      const [row] = await ask(`SELECT ${columns.join(', ')}`);
      some.forEach(([pair], index) => this.signs.set(pair, Number(row?.[`c${index}`])));
    }
  }
}
