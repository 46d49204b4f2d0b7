import { describe, expect, it } from 'vitest';
import { metrics } from '../../../../core/observe/metrics.ts';
import type { ConnectionStreamWork } from '../../../../core/store/work.ts';
import { DeliveryStatus } from '../../../../services/sink/delivery-status.ts';

function stream(name: string): ConnectionStreamWork {
  return {
    namespace: 'public',
    name,
    topicOwner: 'source',
    isReadByJob: false,
    destinationNamespace: null,
    destinationName: name,
    mode: 'append',
    primaryKey: [],
    properties: null,
    schemaPolicy: 'propagate_columns',
  };
}

describe('values that are NULL because they do not fit', () => {
  it('are counted per field in the report and the metric, and absent where there are none', async () => {
    const work = {
      connectionId: 'nulled-values',
      sourceId: 's',
      connector: 'postgres',
      config: {},
      streams: [stream('orders'), stream('customers')],
      version: '1',
    };
    const schemas = {
      value: () => undefined,
      key: () => undefined,
      load: async () => undefined,
      latest: async () => null,
    };
    const status = new DeliveryStatus(work, schemas);
    status.nulled('public.orders', new Map([['price', 2]]));
    status.nulled('public.orders', new Map(Object.entries({ price: 1, note: 1 })));
    const [orders, customers] = status.report().streams;
    expect(orders?.nulledValues).toEqual({ price: 3, note: 1 });
    expect(customers).not.toHaveProperty('nulledValues');
    const { values } = await metrics.nulledValues.get();
    const own = values.filter(({ labels }) => labels['connection'] === 'nulled-values');
    expect(own.map(({ labels, value }) => [labels['stream'], labels['field'], value])).toEqual([
      ['public.orders', 'price', 3],
      ['public.orders', 'note', 1],
    ]);
  });
});
