import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BinaryWriter } from '../../../../../connectors/destinations/postgres/binary-writer.ts';
import { KeySlots } from '../../../../../connectors/destinations/postgres/key-slots.ts';
import { writeNumeric } from '../../../../../connectors/destinations/postgres/numeric-cell.ts';
import {
  writeTimestamp,
  writeTimestamptz,
} from '../../../../../connectors/destinations/postgres/timestamp-cell.ts';
import { EventIds } from '../../../../../connectors/destinations/postgres/event-metadata.ts';
import { avroOracle } from '../../../../support/avro-oracle.ts';

/** Reads Postgres' binary numeric back to text, as the server prints it. */
function printed(cell: Buffer): string {
  const [groups, weight, sign, scale] = [4, 6, 8, 10].map((at) => cell.readInt16BE(at)) as [
    number,
    number,
    number,
    number,
  ];
  expect(cell.readInt32BE(0)).toBe(8 + groups * 2);
  const group = (power: number) => {
    const index = weight - power;
    return index < 0 || index >= groups ? 0 : cell.readInt16BE(12 + index * 2);
  };
  let whole = '';
  for (let power = Math.max(weight, 0); power >= 0; power--) {
    whole += String(group(power)).padStart(4, '0');
  }
  let fraction = '';
  for (let power = -1; fraction.length < scale; power--) {
    fraction += String(group(power)).padStart(4, '0');
  }
  const digits = whole.replace(/^0+(?=.)/, '') + (scale > 0 ? `.${fraction.slice(0, scale)}` : '');
  return (sign === 0x4000 ? '-' : '') + digits;
}

describe('numeric', () => {
  it('keeps every digit, and zeros behind the point', () => {
    const digits = fc.stringMatching(/^[0-9]{1,40}$/).map((d) => d.replace(/^0+(?=.)/, ''));
    const fraction = fc.option(fc.stringMatching(/^[0-9]{1,40}$/), { nil: '' });
    fc.assert(
      fc.property(fc.boolean(), digits, fraction, (negative, whole, rest) => {
        const text = `${negative ? '-' : ''}${whole}${rest === '' ? '' : `.${rest}`}`;
        const bytes = Buffer.from(`xx${text}9.9`);
        const out = new BinaryWriter(16);
        writeNumeric(out, bytes, 2, 2 + text.length);
        expect(printed(out.bytes.subarray(0, out.pos))).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses what is no decimal', () => {
    for (const text of ['1e5', '1,5', '1.2.3', '--1', '']) {
      const bytes = Buffer.from(text);
      expect(() => writeNumeric(new BinaryWriter(64), bytes, 0, bytes.length)).toThrow(/decimal/);
    }
  });
});

describe('timestamps', () => {
  const y2000 = 946_684_800_000_000n;

  it('move from 1970 to 2000 modulo 2^64, infinities apart', () => {
    const long = avroOracle('long');
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n) + 1n, max: 2n ** 63n - 2n }), (micros) => {
        const out = new BinaryWriter(16);
        writeTimestamp(out, long.toBuffer(micros), 0);
        expect(out.bytes.readBigInt64BE(4)).toBe(BigInt.asIntN(64, micros - y2000));
      }),
    );
    for (const infinity of [2n ** 63n - 1n, -(2n ** 63n)]) {
      const out = new BinaryWriter(16);
      writeTimestamp(out, long.toBuffer(infinity), 0);
      expect(out.bytes.readBigInt64BE(4)).toBe(infinity);
    }
  });

  it('with a zone are read to the microsecond', () => {
    const date = fc.date({
      min: new Date('0001-01-01'),
      max: new Date('9999-12-31'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(date, fc.integer({ min: 0, max: 999 }), (at, micros) => {
        const text = at.toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`);
        const bytes = Buffer.from(text);
        const out = new BinaryWriter(16);
        writeTimestamptz(out, bytes, 0, bytes.length);
        const expected = BigInt(at.getTime()) * 1000n + BigInt(micros) - y2000;
        expect(out.bytes.readBigInt64BE(4)).toBe(expected);
      }),
    );
  });

  it('with a zone that are cut short or have another form are refused', () => {
    for (const text of ['2024-01-01', '2024-01-01T00:00:00', '2024-01-01 00:00:00+01', 'x', '']) {
      const bytes = Buffer.from(text);
      const write = () => writeTimestamptz(new BinaryWriter(16), bytes, 0, bytes.length);
      expect(write).toThrow(/malformed/);
    }
  });
});

describe('event ids', () => {
  it('differ by topic, partition and offset, sort by offset, and are version 8 uuids', () => {
    const idOf = (topic: string, partition: number, offset: number) => {
      const out = new BinaryWriter(32);
      new EventIds(topic, partition).writeCell(out, offset);
      return out.bytes.subarray(4, 20);
    };
    const ids = [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 52].map((offset) => idOf('t', 0, offset));
    expect([...ids].sort(Buffer.compare)).toEqual(ids);
    for (const id of ids) expect([id[6]! >> 4, id[8]! >> 6]).toEqual([8, 2]);
    expect(idOf('t', 1, 0)).not.toEqual(ids[0]);
    expect(idOf('u', 0, 0)).not.toEqual(ids[0]);
    expect(idOf('t', 0, 0)).toEqual(ids[0]);
    const text = new BinaryWriter(40);
    new EventIds('t', 0, true).writeCell(text, 2 ** 52);
    const printed = text.bytes.toString('latin1', 4, 40);
    expect(printed).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(printed.replaceAll('-', '')).toBe(ids[5]?.toString('hex'));
  });
});

describe('key slots', () => {
  it('number distinct keys in the order of their first appearance', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 3 }), { minLength: 1, maxLength: 200 }),
        (keys) => {
          const bytes = Buffer.from(keys.join(''));
          const slots = new KeySlots(keys.length);
          const model = new Map<string, number>();
          let at = 0;
          for (const key of keys) {
            const end = at + Buffer.byteLength(key);
            if (!model.has(key)) model.set(key, model.size);
            expect(slots.slotOf(bytes, at, end)).toBe(model.get(key));
            at = end;
          }
          expect(slots.count).toBe(model.size);
        },
      ),
    );
  });
});
