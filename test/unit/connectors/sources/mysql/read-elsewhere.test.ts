import { describe, expect, it } from 'vitest';
import type { GtidMark } from '../../../../../connectors/sources/mysql/binlog-events.ts';
import { placeText } from '../../../../../connectors/sources/mysql/position.ts';
import { ReadElsewhere } from '../../../../../connectors/sources/mysql/read-elsewhere.ts';

const UUID = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
const END = 1_000n;

function gtid(source: string, number: number, server = 1): GtidMark {
  const time = { commitUs: number, standalone: false, prepared: false };
  return { source, number: BigInt(number), server, ...time };
}

function elsewhere(mariadb: boolean, gtids: string, lastGtid = ''): ReadElsewhere {
  const last = { place: placeText(1n), gtid: lastGtid, commitUs: 5 };
  const before = placeText(END);
  return new ReadElsewhere(mariadb, { gtids, before, last: lastGtid === '' ? null : last });
}

const otherHistory = expect.objectContaining({ code: 'SRC_IDENTITY_CHANGED' });

describe('transactions that were read from another server', () => {
  it('are told by their ids where MySQL mixes them with new ones', () => {
    const read = elsewhere(false, `${UUID}:1-5:7`);
    const passed = [5, 6, 7, 8].map((number) => read.passesOver(10n, gtid(UUID, number)));
    expect(passed).toEqual([true, false, true, false]);
    expect(read.mark?.gtids).toBe(`${UUID}:1-5:7`);
    expect(read.passesOver(END, gtid(UUID, 9))).toBe(false);
    expect(read.mark).toBeNull();
  });

  it('end, on MariaDB, with the newest of their domain', () => {
    const read = elsewhere(true, '0-1-5,1-1-3');
    expect(read.passesOver(10n, gtid('0', 4))).toBe(true);
    expect(read.passesOver(11n, gtid('2', 9))).toBe(false);
    expect(read.passesOver(12n, gtid('0', 5))).toBe(true);
    expect(read.passesOver(13n, gtid('0', 6, 2))).toBe(false);
    expect(read.mark?.gtids).toBe('1-1-3');
    expect(read.passesOver(14n, gtid('1', 3))).toBe(true);
    expect(read.mark).toBeNull();
  });

  it('are missed when their numbers belong to others', () => {
    const used = elsewhere(true, '0-1-5');
    expect(() => used.passesOver(10n, gtid('0', 5, 2))).toThrow(otherHistory);
    const skipped = elsewhere(true, '0-1-5');
    expect(() => skipped.passesOver(10n, gtid('0', 6))).toThrow(otherHistory);
    const absent = elsewhere(true, '0-1-5');
    expect(() => absent.passesOver(END, gtid('3', 1))).toThrow(otherHistory);
    const restored = elsewhere(false, `${UUID}:1-6`, `${UUID}:6`);
    expect(() => restored.passesOver(10n, gtid(UUID, 6))).toThrow(otherHistory);
  });
});
