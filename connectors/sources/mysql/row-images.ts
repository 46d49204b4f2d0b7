import { protocolError } from './errors.ts';
import { lengthAt, lengthBytes } from './packets.ts';

/** Which columns the images of a row event have, and where its rows begin. */
export interface RowImages {
  readonly rowsAt: number;
  /** Null for all; otherwise 1 for each column that is there. The only image's, or that of the row
   * before and of the row after the change. */
  readonly first: Uint8Array | null;
  readonly second: Uint8Array | null;
}

/** Reads the column count and the bitmaps at the head of a row event. */
export function readImages(
  src: Buffer,
  pos: number,
  columns: number,
  images: number,
  label: string,
): RowImages {
  const count = lengthAt(src, pos);
  if (count !== columns) throw protocolError(`rows of ${label} that do not fit its description`);
  const at = pos + lengthBytes;
  const width = (columns + 7) >> 3;
  return {
    rowsAt: at + images * width,
    first: present(src, at, columns),
    second: images === 2 ? present(src, at + width, columns) : null,
  };
}

function present(src: Buffer, at: number, columns: number): Uint8Array | null {
  let all = true;
  for (let i = 0; i < columns && all; i++) all = bit(src, at, i) === 1;
  if (all) return null;
  return Uint8Array.from({ length: columns }, (_, i) => bit(src, at, i));
}

function bit(src: Buffer, at: number, index: number): number {
  return ((src[at + (index >> 3)] as number) >> (index & 7)) & 1;
}
