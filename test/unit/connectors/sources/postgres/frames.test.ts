import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../../../../connectors/sources/postgres/frames.ts';

function frame(tag: number, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = tag;
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** Cuts the bytes at the given places. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
  places.sort((a, b) => a - b);
  return places.slice(1).map((end, index) => Buffer.from(bytes.subarray(places[index], end)));
}

const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
const cuts = fc.array(fc.nat(), { maxLength: 30 });

describe('frames', () => {
  it('come out whole and in order however the bytes are cut and whenever the reader is blocked', () => {
    fc.assert(
      fc.property(bodies, cuts, fc.array(fc.boolean()), (contents, places, blocks) => {
        const seen: string[] = [];
        let count = 0;
        const reader = new FrameReader(
          {
            frame(tag, bytes, start, end) {
              seen.push(`${tag}:${bytes.toString('hex', start, end)}`);
              return blocks[count++ % (blocks.length || 1)] !== true;
            },
            oversized() {
              throw new Error('no frame is that large');
            },
          },
          1000,
        );
        const bytes = Buffer.concat(contents.map((body, i) => frame(65 + i, Buffer.from(body))));
        for (const piece of pieces(bytes, places)) {
          reader.push(piece);
          if (piece.length % 2 === 0) while (reader.blocked) reader.unblock();
        }
        while (reader.blocked) reader.unblock();
        const wanted = contents.map((body, i) => `${65 + i}:${Buffer.from(body).toString('hex')}`);
        expect(seen).toEqual(wanted);
      }),
    );
  });

  it('pass over a frame above the limit without keeping it', () => {
    fc.assert(
      fc.property(cuts, (places) => {
        const seen: string[] = [];
        const reader = new FrameReader(
          {
            frame: (_tag, bytes, start, end) => seen.push(bytes.toString('latin1', start, end)) > 0,
            oversized: (tag, _head, length) => seen.push(`${tag} ${length}`),
          },
          100,
        );
        const bytes = Buffer.concat([
          frame(1, Buffer.from('before')),
          frame(2, Buffer.alloc(200, 120)),
          frame(3, Buffer.from('after')),
        ]);
        for (const piece of pieces(bytes, places)) reader.push(piece);
        expect(seen).toEqual(['before', '2 205', 'after']);
      }),
    );
  });
});
