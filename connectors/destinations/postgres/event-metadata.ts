import type { ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import { murmur2 } from '../../../schemas/envelope/partition.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { writeMicros } from './timestamp-cell.ts';

/**
 * An event's id, the same whenever it is delivered: 58 bits of its topic and partition, then 62 of
 * its offset, as a version 8 uuid. Ids of one partition sort by offset.
 */
export class EventIds {
  private readonly high: number;
  private readonly middle: number;
  private readonly isText: boolean;

  /** `isText`: the column is a text and no uuid. */
  constructor(topic: string, partition: number, isText = false) {
    this.isText = isText;
    const name = Buffer.from(`${topic}/${partition}`);
    this.high = murmur2(name, 0, name.length);
    const reversed = Buffer.from(name).reverse();
    this.middle = (murmur2(reversed, 0, reversed.length) & ~0xf000) | 0x8000;
  }

  /** The first sixteen hexadecimal digits of every id of the partition. */
  get prefix(): string {
    return hexadecimal(this.high) + hexadecimal(this.middle);
  }

  writeCell(out: BinaryWriter, offset: number): void {
    const upper = (0x80000000 | Math.floor(offset / 0x100000000)) >>> 0;
    if (this.isText) {
      const digits = this.prefix + hexadecimal(upper) + hexadecimal(offset);
      out.textCell(digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'));
      return;
    }
    out.ensure(20);
    out.int32(16);
    out.int32(this.high);
    out.int32(this.middle);
    out.int32(upper);
    out.int32(offset >>> 0);
  }
}

function hexadecimal(part: number): string {
  return (part >>> 0).toString(16).padStart(8, '0');
}

/** An id's prefix and offset. */
export function partsOfEventId(uuid: string): { prefix: string; offset: number } {
  const digits = uuid.replaceAll('-', '');
  const offset = BigInt(`0x${digits.slice(16)}`) & 0x3fff_ffff_ffff_ffffn;
  return { prefix: digits.slice(0, 16), offset: Number(offset) };
}

export interface EventStamp {
  readonly ids: EventIds;
  readonly offset: number;
  /** When we write, milliseconds since 1970. */
  readonly emittedAtMs: number;
}

/** Writes the cells of the columns of METADATA_COLUMNS, but for the last, from cell `at` on. */
export function writeMetadata(
  cells: readonly BinaryWriter[],
  at: number,
  change: ChangeCursor,
  stamp: EventStamp,
  deleted: boolean,
): void {
  stamp.ids.writeCell(cells[at] as BinaryWriter, stamp.offset);
  writeMicros(cells[at + 1] as BinaryWriter, stamp.emittedAtMs * 1000);
  (cells[at + 2] as BinaryWriter).int8Cell(change.lsnHigh, change.lsnLow);
  if (change.tsUs === 0) (cells[at + 3] as BinaryWriter).null();
  else writeMicros(cells[at + 3] as BinaryWriter, change.tsUs);
  if (deleted) writeMicros(cells[at + 4] as BinaryWriter, change.tsUs);
  else (cells[at + 4] as BinaryWriter).null();
  (cells[at + 5] as BinaryWriter).int4Cell(change.epoch);
  (cells[at + 6] as BinaryWriter).int4Cell(change.seq);
}
