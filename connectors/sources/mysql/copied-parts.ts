import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { protocolError } from './errors.ts';
import { KeyRanks, type Ask, type KeyPartOrder } from './key-ranks.ts';
import { placeOfText } from './position.ts';
import { KeyText } from './touched-rows.ts';

/** Rows of an interrupted copy, in the order of the key: those up to a key, without those of the parts
 * before it. */
export interface CopiedPart {
  /** The last row's key, as the server is asked for what is behind it; none at the end of the table. */
  readonly upTo?: readonly string[];
  /** The same key as events carry it, in base64. */
  readonly key?: string;
  /** Where the view that gave them lies in the log; none where they are not copied yet. */
  readonly from?: string;
}

/** Of a copy that several views gave: which changes of the log its rows do not hold yet. */
export class CopiedParts {
  /** Where the transaction at hand begins. */
  place = 0n;
  private readonly from: readonly (bigint | null)[];
  private readonly bounds: readonly Buffer[];
  private readonly orders: readonly KeyPartOrder[];
  private readonly keyText = new KeyText();
  private schema: StreamSchema | null = null;
  private known: KeyRanks | null = null;

  constructor(parts: readonly CopiedPart[], orders: readonly KeyPartOrder[]) {
    this.orders = orders;
    this.from = parts.map(({ from }) => (from === undefined ? null : placeOfText(from)));
    this.bounds = parts.flatMap(({ key }) => (key === undefined ? [] : [toBytes(key)]));
  }

  /** Whether any row has to be looked at: the first view lies before the transaction at hand. */
  get begun(): boolean {
    return this.from.some((from) => from !== null && from <= this.place);
  }

  /** Whether the server has to be asked about keys before `isDue` is. */
  asksFor({ schema }: RowCodec): boolean {
    return this.ranks(schema).asks;
  }

  learn({ schema }: RowCodec, ask: Ask, keys: readonly Buffer[]): Promise<void> {
    return this.ranks(schema).learn(ask, keys, this.bounds);
  }

  keyOf(codec: RowCodec, src: Buffer, spans: Int32Array, room: number): Buffer {
    return Buffer.from(this.keyText.of(codec, src, spans, room), 'latin1');
  }

  /** Rows behind the last part are those of the last view, which the log has not reached; and so are
   * those that were not copied before it. */
  isDue(codec: RowCodec, src: Buffer, spans: Int32Array, room: number): boolean {
    const key = this.keyOf(codec, src, spans, room);
    const from = this.from[this.ranks(codec.schema).rank(key, this.bounds)] ?? null;
    return from !== null && from <= this.place;
  }

  private ranks(schema: StreamSchema): KeyRanks {
    if (this.known !== null && this.schema === schema) return this.known;
    const ranks = KeyRanks.of(schema, this.orders);
    if (ranks === null) throw protocolError('parts of a table whose keys have no order');
    this.schema = schema;
    this.known = ranks;
    return ranks;
  }
}

export function toBytes(key: string): Buffer {
  return Buffer.from(key, 'base64');
}
