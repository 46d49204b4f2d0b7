import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { murmur2 } from '../../../schemas/envelope/partition.ts';
import { streamTopic } from '../../../topics/naming.ts';

const require = createRequire(import.meta.url);
const kafkajsMurmur2 = require('kafkajs/src/producer/partitioners/default/murmur2') as (
  key: Buffer,
) => number;

const nasty = fc.string({
  unit: fc.constantFrom('a', 'x', '_', '.', '-', '5', 'f', 'é', ' ', '\u{1f600}'),
});
const part = fc.oneof(nasty, fc.string({ unit: 'grapheme' }), fc.constant('x'.repeat(300)));
const triple = fc.tuple(part, part, part);

const topicOf = ([source, namespace, name]: readonly [string, string, string]): string =>
  streamTopic('headrace', source, { namespace, name });

describe('topic names', () => {
  test('keep what is legal', () => {
    expect(topicOf(['pg-source', 'public', 'customer_orders'])).toBe(
      'headrace.pg-source.public.customer_orders',
    );
    expect(topicOf(['a.b', 'c', 'Größe'])).toBe('headrace.a_x2eb.c.Gr_xc3_xb6_xc3_x9fe');
  });

  test('are legal for Kafka', () => {
    fc.assert(
      fc.property(triple, (parts) => {
        expect(topicOf(parts)).toMatch(/^[a-zA-Z0-9._-]{1,249}$/);
      }),
      { numRuns: 2_000 },
    );
  });

  test('of different streams differ', () => {
    fc.assert(
      fc.property(triple, triple, (one, other) => {
        const same = one.every((text, i) => text === other[i]);
        expect(topicOf(one) === topicOf(other)).toBe(same);
      }),
      { numRuns: 5_000 },
    );
    expect(topicOf(['s', 'a.b', 'c'])).not.toBe(topicOf(['s', 'a', 'b.c']));
    expect(topicOf(['s', 'n', 'a.b'])).not.toBe(topicOf(['s', 'n', 'a_x2eb']));
    const long = 'x'.repeat(400);
    expect(topicOf(['s', 'n', `${long}1`])).not.toBe(topicOf(['s', 'n', `${long}2`]));
    const cut = topicOf(['s', 'n', long]);
    expect(topicOf(['s', 'n', cut.slice('headrace.s.n.'.length)])).not.toBe(cut);
  });
});

test('murmur2 is the one of kafkajs', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (key) => {
      expect(murmur2(key, 0, key.length)).toBe(kafkajsMurmur2(Buffer.from(key)));
    }),
    { numRuns: 1_000 },
  );
});
