import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../../../connectors/destinations/postgres/config.ts';
import { streamTables } from '../../../../../connectors/destinations/postgres/stream-tables.ts';
import type { DestinationStream } from '../../../../../connectors/spi/destination.ts';

const HOST = { host: 'db', database: 'd', username: 'u', schema: 'public' };

function choice(config: Record<string, unknown>) {
  const { normalization, keepsHistory } = parseConfig({ ...HOST, ...config });
  return [normalization, keepsHistory];
}

describe('what a stream becomes', () => {
  it.each([
    [{}, 'typed'],
    [{ normalization: { option: 'basic' } }, 'basic'],
    [{ Normalization: 'Basic Normalization' }, 'basic'],
    [{ normalization: true }, 'basic'],
    [{ normalization: 'classic' }, 'classic'],
    [{ Normalization: { Enable: true, Option: 'Classic' } }, 'classic'],
    [{ normalization: { option: 'v2' } }, 'v2'],
    [{ normalization: { option: 'v2', enabled: false } }, 'raw'],
    [{ normalization: 'none' }, 'raw'],
    [{ disable_type_dedupe: true }, 'raw'],
  ])('%j is %s', (config, normalization) => {
    expect(choice(config)).toEqual([normalization, false]);
  });

  it('keeps versions of classic rows where that is asked for', () => {
    expect(choice({ normalization: { option: 'classic', scd: true } })).toEqual(['classic', true]);
  });

  it('takes a value that does not fit, unless that is to stop its stream', () => {
    const stops = (config: object) => parseConfig({ ...HOST, ...config }).stopsAtMisfits;
    expect(stops({})).toBe(false);
    expect(stops({ values_that_do_not_fit: 'null' })).toBe(false);
    expect(stops({ values_that_do_not_fit: null })).toBe(false);
    expect(stops({ values_that_do_not_fit: 'stop' })).toBe(true);
  });

  it.each([
    [{ values_that_do_not_fit: 'drop' }, 'values_that_do_not_fit'],
    [{ normalization: 'v3' }, 'normalization'],
    [{ normalization: { option: 'basic', scd: true } }, 'normalization.scd'],
    [{ normalization: { option: 'classic', scd: 'yes' } }, 'normalization.scd'],
    [{ normalization: 'classic', disable_type_dedupe: true }, 'disable_type_dedupe'],
    [{ normalization: 'v2', disable_type_dedupe: true }, 'disable_type_dedupe'],
  ])('%j is refused', (config, field) => {
    const refused = { code: 'CFG_INVALID_CONNECTOR', details: { field } };
    expect(() => choice(config)).toThrow(expect.objectContaining(refused) as Error);
  });
});

describe('tables of a stream', () => {
  const tables = (normalization: unknown, name: string, mode: DestinationStream['mode']) =>
    streamTables(parseConfig({ ...HOST, normalization }), {
      stream: { namespace: 'public', name },
      namespace: 'crm',
      name,
      mode,
      primaryKey: ['id'],
    });

  it('have the names of their rules', () => {
    expect(tables('classic', 'Order Items', 'append')).toEqual({
      schema: 'crm',
      final: 'order_items',
      raw: { schema: 'crm', table: '_airbyte_raw_order_items' },
      history: null,
    });
    const scd = { option: 'classic', scd: true };
    expect(tables(scd, 'orders', 'append_dedup').history).toBe('orders_scd');
    expect(tables(scd, 'orders', 'append').history).toBeNull();
    expect(tables('v2', 'Order Items', 'append')).toEqual({
      schema: 'crm',
      final: 'Order Items',
      raw: { schema: 'airbyte_internal', table: 'crm_raw__stream_Order Items' },
      history: null,
    });
    expect(tables('v2', 'a__b', 'append').raw?.table).toBe('crm_raw___stream_a__b');
  });
});
