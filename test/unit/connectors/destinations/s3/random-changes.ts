import type { Column } from '../../../../../schemas/envelope/stream-schema.ts';
import { randomOf } from '../../../../integration/destinations/s3/key-workload.ts';
import {
  column,
  type MemoryTopic,
  type Row,
} from '../../../../integration/destinations/s3/memory-topic.ts';

type Random = () => number;

/** A cell as Avro has it, as it is to be shown in the file, and its text where no column can hold it. */
interface Drawn {
  readonly avro: unknown;
  readonly value: unknown;
  readonly text?: string;
}

const SECOND = 1_000_000n;

function long(random: Random): bigint {
  const value =
    (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
  return BigInt.asIntN(64, value >> BigInt(Math.floor(random() * 64)));
}

function among<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!;
}

function same(avro: unknown): Drawn {
  return { avro, value: avro };
}

function lost(avro: unknown, text = String(avro)): Drawn {
  return { avro, value: null, text };
}

function digits(random: Random, count: number): string {
  return Array.from({ length: count }, () => Math.floor(random() * 10)).join('');
}

function decimal(random: Random, precision: number, scale: number): Drawn {
  if (random() < 0.05) return lost(among(random, ['NaN', 'Infinity', '-Infinity']));
  const whole = digits(random, Math.floor(random() * (precision - scale)) + 1);
  const cut = whole.slice(0, precision - scale);
  const places = Math.floor(random() * (scale + 1));
  const fraction = digits(random, places);
  const sign = random() < 0.5 ? '-' : '';
  const avro = `${sign}${cut}${places === 0 ? '' : `.${fraction}`}`;
  return { avro, value: BigInt(`${cut}${fraction.padEnd(scale, '0')}`) * (sign === '' ? 1n : -1n) };
}

/** From 4000 BC to 9999: beyond lies what JavaScript does not print. */
function timestamptz(random: Random): Drawn {
  if (random() < 0.05)
    return lost(among(random, ['infinity', '-infinity', '294277-01-01T00:00:00Z']));
  const seconds = Math.floor(random() * 400_000_000_000) - 62_135_596_800;
  const inRange = seconds > 253_402_300_799 ? seconds % 253_402_300_799 : seconds;
  const micros = Math.floor(random() * 1e6);
  const fraction = random() < 0.3 ? '' : `.${String(micros).padStart(6, '0')}`;
  const avro = new Date(inRange * 1000).toISOString().replace(/\.000Z$/, `${fraction}Z`);
  return { avro, value: BigInt(inRange) * SECOND + (fraction === '' ? 0n : BigInt(micros)) };
}

const KINDS: readonly (readonly [Column, (random: Random) => Drawn])[] = [
  [column('flag', 'boolean'), (random) => same(random() < 0.5)],
  [
    column('small', 'int16'),
    (random) => {
      const avro = Math.floor(random() * 65536) - 32768;
      return { avro, value: BigInt(avro) };
    },
  ],
  [
    column('number', 'int32'),
    (random) => {
      const avro = random() < 0.1 ? -(2 ** 31) : Math.floor(random() * 2 ** 32) - 2 ** 31;
      return { avro, value: BigInt(avro) };
    },
  ],
  [
    column('big', 'int64'),
    (random) => same(random() < 0.1 ? among(random, [2n ** 63n - 1n, -(2n ** 63n)]) : long(random)),
  ],
  [column('single', 'float32'), (random) => same(Math.fround((random() - 0.5) * 1e6))],
  [
    column('double', 'float64'),
    (random) =>
      same(
        among(random, [
          0,
          -0,
          Number.NaN,
          Number.NEGATIVE_INFINITY,
          5e-324,
          random(),
          random() * -1e300,
        ]),
      ),
  ],
  [column('price', 'decimal', { precision: 12, scale: 2 }), (random) => decimal(random, 12, 2)],
  [column('exact', 'decimal', { precision: 38, scale: 10 }), (random) => decimal(random, 38, 10)],
  [column('any', 'decimal'), (random) => same(`-${digits(random, 60)}.5`)],
  [column('few', 'string'), (random) => same(among(random, ['new', 'paid', '', 'Zürich 🏔']))],
  [column('name', 'string'), (random) => same('ü'.repeat(Math.floor(random() * 90)) + random())],
  [
    column('raw', 'bytes'),
    (random) => same(Buffer.from(digits(random, Math.floor(random() * 40)), 'latin1')),
  ],
  [
    column('day', 'date'),
    (random) => {
      if (random() < 0.05) return lost(2 ** 31 - 1, 'infinity');
      if (random() < 0.05) return lost(-(2 ** 31), '-infinity');
      return same(Math.floor((random() - 0.5) * 4_000_000));
    },
  ],
  [
    column('at', 'time'),
    (random) =>
      random() < 0.05
        ? lost(86_400_000_000n, '24:00:00')
        : same(BigInt(Math.floor(random() * 86_400_000_000))),
  ],
  [
    column('local', 'timestamp'),
    (random) => {
      if (random() < 0.05) return lost(2n ** 63n - 1n, 'infinity');
      if (random() < 0.05) return lost(-(2n ** 63n), '-infinity');
      if (random() < 0.05) return same(-210_866_803_200_000_000n);
      return same(long(random) % 200_000_000_000_000_000n);
    },
  ],
  [column('moment', 'timestamptz'), timestamptz],
  [
    column('tags', 'array', { native: 'integer[]' }),
    (random) => {
      const parts = Array.from({ length: Math.floor(random() * 4) }, () =>
        Math.floor(random() * 99),
      );
      return { avro: `{${parts.join(',')}}`, value: `[${parts.join(',')}]` };
    },
  ],
];
export const SOURCE = KINDS.map(([each]) => each);

/** That the row ids below are made of. */
export const ID_HASH = 'abcdef0123456789abcd'.padEnd(64, '0');

/** Changes of all column kinds, with what their rows are to be. */
export class RandomChanges {
  private readonly topic: MemoryTopic;
  private readonly random: Random;
  /** Cells that come up again and again. */
  private readonly few: readonly Drawn[][];

  constructor(topic: MemoryTopic, seed: number) {
    this.topic = topic;
    this.random = randomOf(seed);
    this.few = KINDS.map(([, draw]) => [draw(this.random), draw(this.random)]);
  }

  /** Appends a record and answers its row: the file's columns, then CHANGE_COLUMNS. */
  append(): unknown[] {
    const { topic, random, few } = this;
    const drawn = KINDS.map(([, draw], i) => {
      if (random() < 0.15) return same(null);
      return random() < 0.3 ? among(random, few[i]!) : draw(random);
    });
    const offset = topic.end;
    const row = Object.fromEntries(SOURCE.map(({ name }, i) => [name, drawn[i]!.avro])) as Row;
    const isDelete = random() < 0.2;
    const unchanged = isDelete || random() < 0.7 ? [] : SOURCE.filter(() => random() < 0.1);
    const left = new Set(unchanged.map(({ name }) => name));
    const after = Object.fromEntries(
      Object.entries(row).map(([name, cell]) => [name, left.has(name) ? null : cell]),
    );
    const lsn = BigInt.asUintN(63, long(random));
    const seq = Math.floor(random() * 2 ** 31);
    const tsUs = 1_700_000_000_000_000n + BigInt(Math.floor(random() * 1e12));
    const images = isDelete ? { before: row } : { after };
    const names = left.size === 0 ? null : [...left];
    topic.append(1, {
      op: isDelete ? 'd' : 'u',
      ...images,
      lsn,
      seq,
      tsUs,
      epoch: 3,
      unchanged: names,
    });
    const cells = drawn.map(({ value }, i) => (left.has(SOURCE[i]!.name) ? null : value));
    const texts = Object.fromEntries(
      drawn.flatMap((cell, i) => {
        const { name } = SOURCE[i]!;
        return cell.text === undefined || left.has(name) ? [] : [[name, cell.text]];
      }),
    );
    return [
      ...cells,
      `abcdef01-2345-8789-8bcd-${offset.toString(16).padStart(12, '0')}`,
      tsUs / 1000n,
      lsn,
      tsUs,
      isDelete ? tsUs : null,
      3n,
      BigInt(seq),
      names === null ? null : JSON.stringify(names),
      Object.keys(texts).length === 0 ? null : JSON.stringify(texts),
    ];
  }
}
