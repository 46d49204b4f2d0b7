import { murmur2 } from '../../../schemas/envelope/partition.ts';

/** Keys are spread over so many slots by their hash; a file holds whole slots, in order. */
export const SLOTS = 4096;

/** The slot of the key at [start, end): the hash's high bits, for Kafka chose the partition by the
 * low ones. */
export function slotOf(bytes: Uint8Array, start: number, end: number): number {
  return (murmur2(bytes, start, end) >>> 19) & (SLOTS - 1);
}
