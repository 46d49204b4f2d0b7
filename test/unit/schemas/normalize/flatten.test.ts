import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  flattenDocument,
  pathKey,
  type ChildRow,
  type FlatDocument,
  type FlatFields,
  type TablePath,
} from '../../../../schemas/normalize/flatten.ts';
import {
  hashId,
  isObject,
  JsonNumber,
  jsonbText,
  parseJson,
  plainNumber,
  type JsonObject,
  type JsonValue,
} from '../../../../schemas/normalize/json-value.ts';
import type { Rules } from '../../../../schemas/normalize/rules.ts';
import { extended, Observed, type Shape } from '../../../../schemas/normalize/shape.ts';

const GUIDE = parseJson(
  `{"id": 1, "name": "Acme Corp", "contact": {"email": "info@acme.com", "phone": "+1234567890"},
    "addresses": [{"type": "billing", "city": "New York"}, {"type": "shipping", "city": "Boston"}]}`,
) as JsonObject;
const GUIDE_HASH = '2d7a26d7e44d0286f3a63145030f5318';

const naming = {
  schema: 'public',
  stream: 'customers',
  reserved: new Set(['xmin']),
  isTaken: () => false,
};

function shapeOf(
  documents: readonly FlatDocument[],
  shape: Shape = [],
  rules: Rules = 'basic',
): Shape {
  const observed = new Observed(rules);
  for (const document of documents) observed.document(document);
  return extended(shape, observed, { ...naming, rules });
}

describe("the guide's example", () => {
  it('has its hash ids', () => {
    const texts = [...GUIDE.values()].map((value) =>
      typeof value === 'string' ? value : jsonbText(value),
    );
    expect(hashId(texts)).toBe(GUIDE_HASH);
    const { children } = flattenDocument(GUIDE, GUIDE_HASH);
    expect(children.map(({ parentHash, hash, position }) => [parentHash, hash, position])).toEqual([
      [GUIDE_HASH, '3356b807595eda810956bbe32ada2bb6', 0],
      [GUIDE_HASH, '38181631f24cdc8117e3351f2275a793', 1],
    ]);
    expect([hashId(['1']), hashId(['1', 'EU']), hashId([''])]).toEqual([
      'c4ca4238a0b923820dcc509a6f75849b',
      '5b84dfcf24c6e0e8bfcab3e2a75309bc',
      'd41d8cd98f00b204e9800998ecf8427e',
    ]);
  });

  it('has those of its child tables by the classic rules', () => {
    const { fields, children } = flattenDocument(GUIDE, GUIDE_HASH, 'classic');
    expect([...fields.keys()]).toEqual(['["id"]', '["name"]', '["contact"]', '["addresses"]']);
    expect(children.map(({ table, hash, position }) => [table, hash, position])).toEqual([
      [[['contact']], '87a5a05a38a6db7e22acc4922dbe498d', null],
      [[['addresses']], '3356b807595eda810956bbe32ada2bb6', 0],
      [[['addresses']], '38181631f24cdc8117e3351f2275a793', 1],
    ]);
    const shape = shapeOf([{ fields, children }], [], 'classic');
    expect(shape.map(({ name, hashColumn }) => [name, hashColumn])).toEqual([
      ['customers', '_airbyte_customers_hashid'],
      ['customers_contact', '_airbyte_contact_hashid'],
      ['customers_addresses', '_airbyte_addresses_hashid'],
    ]);
  });

  it('has its tables and columns', () => {
    const shape = shapeOf([flattenDocument(GUIDE, GUIDE_HASH)]);
    expect(
      shape.map(({ name, parentHashColumn, hashColumn, fields }) => [
        name,
        parentHashColumn,
        fields.map(({ column, type }) => `${column} ${type}`),
        hashColumn,
      ]),
    ).toEqual([
      [
        'customers',
        null,
        ['id numeric', 'name text', 'contact_email text', 'contact_phone text'],
        '_airbyte_customers_hashid',
      ],
      [
        'customers_addresses',
        '_airbyte_customers_hashid',
        ['type text', 'city text'],
        '_airbyte_addresses_hashid',
      ],
    ]);
  });
});

describe('a shape', () => {
  const flat = (text: string) => flattenDocument(parseJson(text) as JsonObject, 'h');

  it('keeps the names it has given, and numbers those that meet', () => {
    const shape = shapeOf([flat('{"a_b": 1, "A_b": 2, "xmin": 3, "_airbyte_x": 4}')]);
    const grown = shapeOf([flat('{"a": {"b": "x"}, "a_b": 5}')], shape);
    expect(grown[0]?.fields.map(({ column, type }) => [column, type])).toEqual([
      ['a_b', 'numeric'],
      ['a_b_1', 'numeric'],
      ['xmin_1', 'numeric'],
      ['a_b_2', 'text'],
    ]);
    expect(shapeOf([flat('{"a_b": 7}')], grown)).toBe(grown);
  });

  it('makes text of what has several types, in any order', () => {
    const texts = ['{"v": 1, "w": [1]}', '{"v": "x", "w": true}'];
    const once = shapeOf(texts.map(flat));
    const apart = shapeOf([flat(texts[1] as string)], shapeOf([flat(texts[0] as string)]));
    expect(once).toEqual(apart);
    expect(once[0]?.fields.map(({ type }) => type)).toEqual(['text', 'text']);
  });

  it('takes the widest type of classic numbers, in any order', () => {
    const texts = [
      '{"o": {"a": 1, "b": 1, "c": 1, "d": 9223372036854775807}}',
      '{"o": {"a": 9223372036854775808, "b": 1.5, "c": "x", "d": -9223372036854775808}}',
    ];
    const documents = texts.map((text) =>
      flattenDocument(parseJson(text) as JsonObject, 'h', 'classic'),
    );
    for (const order of [documents, [...documents].reverse()]) {
      const types = shapeOf(order, [], 'classic')[1]?.fields.map(({ type }) => type);
      expect(types).toEqual(['numeric', 'double precision', 'text', 'bigint']);
    }
  });

  it('hashes the name of a second table of one name, and tells a child from its parent', () => {
    const shape = shapeOf([
      flat(
        '{"a_b": [{"x": 1}], "a": {"b": [{"x": 1}]}, "customers": [{"x": [{"x": [{"y": 1}]}]}]}',
      ),
    ]);
    expect(
      shape.map(({ name, parentHashColumn, hashColumn }) => [name, parentHashColumn, hashColumn]),
    ).toEqual([
      ['customers', null, '_airbyte_customers_hashid'],
      ['customers_a_b', '_airbyte_customers_hashid', '_airbyte_a_b_hashid'],
      [
        expect.stringMatching(/^customers_a_[0-9a-f]{3}_b$/),
        '_airbyte_customers_hashid',
        '_airbyte_a_b_hashid',
      ],
      ['customers_customers', '_airbyte_customers_hashid', '_airbyte_customers_2_hashid'],
      ['customers_customers_x', '_airbyte_customers_2_hashid', '_airbyte_x_hashid'],
      ['customers_customers_x_x', '_airbyte_x_hashid', '_airbyte_x_4_hashid'],
    ]);
  });
});

describe('numbers', () => {
  it.each([
    ['1e2', '100'],
    ['1.50e1', '15.0'],
    ['-0.0', '0.0'],
    ['1E-3', '0.001'],
    ['12345678901234567890.100', '12345678901234567890.100'],
    ['0.5e3', '500'],
  ])('%s is %s', (text, plain) => expect(plainNumber(text)).toBe(plain));
});

const names = fc.constantFrom('a', 'b', 'a_b', 'A', '', 'ключ', 'x-y');
const scalars = fc.oneof(
  fc.constantFrom('', 'x', '-', 'x-y', 'ß"\\'),
  fc.boolean(),
  fc.integer({ min: -3, max: 3 }).map((n) => new JsonNumber(String(n))),
  fc.constant(null),
);
const { document } = fc.letrec<{ value: JsonValue; document: JsonObject }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalars,
    fc.array(scalars, { maxLength: 3 }),
    fc.array(fc.oneof(tie('document'), fc.constant(null)), { maxLength: 4 }),
    tie('document'),
  ),
  document: fc
    .array(fc.tuple(names, tie('value')), { maxLength: 4 })
    .map((members) => new Map(members) as JsonObject),
}));

/** What tables can tell of a document: without null, empty objects and arrays. */
function normal(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return { number: value.text };
  if (isObject(value)) {
    const members = [...value].map(([key, member]) => [key, normal(member)] as const);
    const kept = members.filter(([, member]) => member !== undefined);
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  }
  if (!Array.isArray(value)) return value ?? undefined;
  const items = value as JsonValue[];
  if (items.length === 0) return undefined;
  const rows = items.filter((item) => item !== null);
  if (rows.length === 0 || !rows.every(isObject)) return { whole: jsonbText(items) };
  return rows.map((row) => normal(row) ?? {});
}

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, unknown>;
  at[path[path.length - 1] as string] = value;
}

/** Joins children to parents as a reader of the tables would: by the parent's hash id alone. */
function rejoined(
  fields: FlatFields,
  hash: string,
  table: TablePath,
  children: readonly ChildRow[],
): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const { path, value } of fields.values()) {
    put(row, path, Array.isArray(value) ? { whole: jsonbText(value) } : normal(value));
  }
  const mine = children.filter(
    (child) => child.parentHash === hash && pathKey(child.parentTable) === pathKey(table),
  );
  for (const key of new Set(mine.map((child) => pathKey(child.table)))) {
    const elements = mine
      .filter((child) => pathKey(child.table) === key)
      .sort((a, b) => (a.position as number) - (b.position as number));
    const path = (JSON.parse(key) as string[][])[table.length] as string[];
    const objects = elements.map((e) => rejoined(e.fields, e.hash, e.table, children));
    put(row, path, objects);
  }
  return row;
}

describe('documents taken apart', () => {
  it('are given back by joining the rows', () => {
    fc.assert(
      fc.property(document, (doc) => {
        const { fields, children } = flattenDocument(doc, 'root');
        expect(rejoined(fields, 'root', [], children)).toEqual(normal(doc) ?? {});
      }),
      { numRuns: 2000 },
    );
  });

  it('are read as they were printed', () => {
    fc.assert(
      fc.property(document, (doc) => {
        expect(jsonbText(parseJson(jsonbText(doc)))).toBe(jsonbText(doc));
      }),
      { numRuns: 500 },
    );
    for (const text of ['', '{', '[1,]', '{"a"}', '01', '"a', '1 2', 'nul', '{"a":1,}']) {
      expect(() => parseJson(text)).toThrow(SyntaxError);
    }
  });

  it('have a place for every row and field, whatever came before', () => {
    fc.assert(
      fc.property(fc.array(document, { maxLength: 6 }), (documents) => {
        const flat = documents.map((doc, i) => flattenDocument(doc, `root ${i}`));
        let shape: Shape = [];
        for (const one of flat) shape = shapeOf([one], shape);
        const tables = new Map(shape.map((table) => [pathKey(table.path), table]));
        expect(new Set(shape.map(({ name }) => name)).size).toBe(shape.length);
        for (const { children } of flat) {
          for (const { table, fields } of children) {
            const known = new Set(
              tables.get(pathKey(table))?.fields.map(({ path }) => pathKey(path)),
            );
            for (const key of fields.keys()) expect(known.has(key)).toBe(true);
          }
        }
        for (const { fields, hashColumn } of shape) {
          const columns = [hashColumn, ...fields.map(({ column }) => column.toLowerCase())];
          expect(new Set(columns).size).toBe(columns.length);
        }
      }),
      { numRuns: 300 },
    );
  });
});
