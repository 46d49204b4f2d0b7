import type { ColumnBuffer } from './column-buffer.ts';

const HEX = Uint8Array.from(Buffer.from('0123456789abcdef'));
/** The last twelve hexadecimal digits of the id: offsets up to 2^48. */
const OFFSET_DIGITS = 12;
const HALF_DIGITS = OFFSET_DIGITS / 2;
const HALF = 16 ** HALF_DIGITS;

/** `_airbyte_ab_id`: a UUID that is a function of topic, partition and offset, so that a row has the
 * same id however often it is built. Version 8, our own layout: hash of the partition, then offset. */
export class RowIds {
  private readonly template: Uint8Array;

  /** `hash`: at least 20 hexadecimal digits that name topic and partition. */
  constructor(hash: string) {
    const zeros = '0'.repeat(OFFSET_DIGITS);
    this.template = Buffer.from(
      `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${zeros}`,
    );
  }

  /** The offset of an id of this partition; null for any other id. */
  offsetOf(id: string): number | null {
    const start = this.template.length - OFFSET_DIGITS;
    const isOurs = id.slice(0, start) === Buffer.from(this.template).toString('latin1', 0, start);
    return isOurs ? Number.parseInt(id.slice(start), 16) : null;
  }

  /** Appends the id of the record at `offset`. */
  append(into: ColumnBuffer, offset: number): void {
    const { template } = this;
    const start = into.makeValue(template.length);
    const { bytes } = into;
    const digits = template.length - OFFSET_DIGITS;
    for (let i = 0; i < digits; i++) bytes[start + i] = template[i] as number;
    const high = Math.floor(offset / HALF);
    writeDigits(bytes, start + digits, high);
    writeDigits(bytes, start + digits + HALF_DIGITS, offset - high * HALF);
  }
}

function writeDigits(bytes: Uint8Array, start: number, value: number): void {
  for (let at = start + HALF_DIGITS - 1; at >= start; at--) {
    bytes[at] = HEX[value & 15] as number;
    value >>>= 4;
  }
}
