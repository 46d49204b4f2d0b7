import type { ColumnKind } from '../../../schemas/values/column-type.ts';
import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { placeOfText } from './position.ts';
import { KeyText } from './touched-rows.ts';

/** Rows that one view of an interrupted copy gave: those up to a key, without those of the parts
 * before it. */
export interface CopiedPart {
  /** The last row's key, as the server is asked for what is behind it. */
  readonly upTo: readonly string[];
  /** The same key as events carry it, in base64. */
  readonly key: string;
  /** Where the view lies in the log. */
  readonly from: string;
}

type Compare = (a: KeyBytes, b: KeyBytes) => number;

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

const byNumber: Compare = (a, b) => sign(a.whole(), b.whole());
const byBytes: Compare = (a, b) => a.run().compare(b.run());
/** Both have the column's own number of digits behind the point. */
const byDigits: Compare = (a, b) => sign(digits(a.run()), digits(b.run()));

const digits = (text: Buffer): bigint => BigInt(text.toString('latin1').replace('.', ''));

function sign(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Only where the server's order is known here: a text's is its collation's. */
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
};

function comparesOf({ key, columns }: StreamSchema): Compare[] | null {
  const found = key.map(
    (name) => COMPARE[columns.find((column) => column.name === name)?.type.kind ?? 'string'],
  );
  return found.includes(undefined) ? null : (found as Compare[]);
}

/** Whether events tell by their keys on which side of a row of the table they are. */
export function isOrderKnown(schema: StreamSchema): boolean {
  return schema.key.length > 0 && comparesOf(schema) !== null;
}

/** Of a copy that several views gave: which changes of the log its rows do not hold yet. */
export class CopiedParts {
  /** Where the transaction at hand begins. */
  place = 0n;
  private readonly parts: readonly { readonly key: Buffer; readonly from: bigint }[];
  private readonly keyText = new KeyText();

  constructor(parts: readonly CopiedPart[]) {
    this.parts = parts.map(({ key, from }) => ({
      key: Buffer.from(key, 'base64'),
      from: placeOfText(from),
    }));
  }

  /** Whether any row has to be looked at: the first view lies before the transaction at hand. */
  get begun(): boolean {
    return this.parts.some(({ from }) => from <= this.place);
  }

  /** Rows behind the last part are those of the last view, which the log has not reached. */
  isDue(codec: RowCodec, src: Buffer, spans: Int32Array, room: number): boolean {
    const key = Buffer.from(this.keyText.of(codec, src, spans, room), 'latin1');
    const part = this.parts.find((each) => isUpTo(codec.schema, key, each.key));
    return part !== undefined && part.from <= this.place;
  }
}

/** Whether a key lies in the table before another or is that. */
export function isUpTo(schema: StreamSchema, key: Buffer, last: Buffer): boolean {
  const [a, b] = [new KeyBytes(key), new KeyBytes(last)];
  for (const compare of comparesOf(schema) ?? []) {
    const order = compare(a, b);
    if (order !== 0) return order < 0;
  }
  return true;
}
