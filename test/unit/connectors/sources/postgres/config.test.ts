import { describe, expect, it } from 'vitest';
import { captureOf, parseConfig } from '../../../../../connectors/sources/postgres/config.ts';
import {
  lsnForServer,
  lsnOfServer,
  lsnOfText,
  lsnText,
} from '../../../../../connectors/sources/postgres/position.ts';

const base = { host: 'db', port: 5432, database: 'd', username: 'u' };

describe('the configuration', () => {
  it("is Airbyte's, with the guide's labels beside it", () => {
    const config = parseConfig({
      Host: 'db',
      Port: '5433',
      'Database Name': 'd',
      User: 'u',
      'SSL Mode': 'require',
      'Replication Method': { method: 'CDC', replication_slot: 's', publication: 'p' },
    });
    expect(config).toMatchObject({
      host: 'db',
      port: 5433,
      database: 'd',
      username: 'u',
      schemas: ['public'],
      tls: { mode: 'require' },
      capture: { slot: 's', publication: 'p', insertsPublication: 'p_inserts', create: false },
    });
  });

  it.each([
    ['host', { ...base, host: '' }],
    ['port', { ...base, port: 'x' }],
    ['ssl_mode.mode', { ...base, ssl_mode: { mode: 'maybe' } }],
    ['replication_method.method', { ...base, replication_method: { method: 'Magic' } }],
    ['replication_method.replication_slot', { ...base, replication_method: { method: 'CDC' } }],
    [
      'replication_method.replication_slot',
      { ...base, replication_method: { method: 'CDC', replication_slot: 'A b', publication: 'p' } },
    ],
    ['tunnel_method', { ...base, tunnel_method: { tunnel_method: 'SSH_KEY_AUTH' } }],
  ])('names the field that is wrong: %s', (field, config) => {
    expect(() => parseConfig(config)).toThrow(
      expect.objectContaining({ code: 'CFG_INVALID_CONNECTOR', details: { field } }),
    );
  });

  it('captures only under CDC', () => {
    const config = parseConfig({ ...base, replication_method: { method: 'Standard' } });
    expect(() => captureOf(config)).toThrow(
      expect.objectContaining({ code: 'CFG_INVALID_CONNECTOR' }),
    );
  });
});

describe('a position', () => {
  it('is ordered as text as the log is', () => {
    const lsns = [0n, 1n, 0xffffffffn, 0x1_0000_0000n, 0x16b374d848n, 2n ** 63n];
    expect(lsns.map(lsnText).sort()).toEqual(lsns.map(lsnText));
    expect(lsns.map((lsn) => lsnOfText(lsnText(lsn)))).toEqual(lsns);
    expect(lsns.map((lsn) => lsnOfServer(lsnForServer(lsn)))).toEqual(lsns);
    expect(lsnForServer(0x16b374d848n)).toBe('16/B374D848');
  });
});
