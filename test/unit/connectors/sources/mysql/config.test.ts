import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../../../connectors/sources/mysql/config.ts';

const BASE = { host: 'h', database: 'd', username: 'u' };
const method = (value: unknown) => parseConfig({ ...BASE, replication_method: value });

describe("a MySQL source's replication method", () => {
  it.each([[undefined], ['STANDARD'], ['Standard'], [{ method: 'STANDARD' }]])(
    'is reading by queries: %o',
    (value) => {
      expect(method(value)).toMatchObject({ capture: false, cursorOverlapSeconds: 300 });
    },
  );

  it('is the log where that is asked for', () => {
    expect(method('CDC').capture).toBe(true);
    expect(method({ method: 'cdc' }).capture).toBe(true);
  });

  it('has an overlap that is a number of seconds', () => {
    const overlap = (seconds: unknown) =>
      method({ method: 'STANDARD', cursor_overlap_seconds: seconds });
    expect(overlap(0).cursorOverlapSeconds).toBe(0);
    expect(overlap('3900').cursorOverlapSeconds).toBe(3_900);
    for (const wrong of [-1, 1.5, 'soon', 604_801]) {
      expect(() => overlap(wrong)).toThrow(/cursor_overlap_seconds: must be a whole number/);
    }
  });

  it('is named when it is none', () => {
    expect(() => method('XMIN')).toThrow('replication_method.method: must be CDC or STANDARD');
  });
});
