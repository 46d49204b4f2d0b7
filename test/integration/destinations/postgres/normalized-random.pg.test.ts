import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pathKey } from '../../../../schemas/normalize/flatten.ts';
import {
  isObject,
  JsonNumber,
  jsonbText,
  parseJson,
  type JsonObject,
  type JsonValue,
} from '../../../../schemas/normalize/json-value.ts';
import type { Rules } from '../../../../schemas/normalize/rules.ts';
import type { Shape } from '../../../../schemas/normalize/shape.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { deduped, EventLog } from './event-log.ts';
import { newTarget, writeLog, type TestTarget } from './target.ts';

const RUNS = Number(process.env['HEADRACE_TEST_RUNS'] ?? 40);
const SEED = Number(process.env['HEADRACE_TEST_SEED'] ?? Date.now() % 2 ** 31);

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
// A database per run takes its time to go.
afterAll(() => server[Symbol.asyncDispose](), 60_000 + RUNS * 1000);

const BASIC = { config: { Normalization: 'Basic' } };
const RULES: readonly Rules[] = ['basic', 'classic', 'v2'];

const names = fc.constantFrom('a', 'b', 'a_b', 'A', 'x-y', 'id');
const scalars = fc.oneof(
  fc.constantFrom('', 'x', '-', 'x-y', 'ß"\\'),
  fc.integer({ min: -3, max: 3 }).map((n) => new JsonNumber(String(n))),
  fc.constant(null),
);
const { document } = fc.letrec<{ value: JsonValue; document: JsonObject }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalars,
    fc.array(scalars, { maxLength: 2 }),
    fc.array(tie('document'), { maxLength: 3 }),
    tie('document'),
  ),
  document: fc
    .array(fc.tuple(names, tie('value')), { maxLength: 3 })
    .map((members) => new Map(members) as JsonObject),
}));
const step = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.option(document, { freq: 3 }));

/** What basic tables can tell of a document: without null, empty objects and arrays, scalars as text. */
function normal(value: JsonValue): unknown {
  if (value === null) return undefined;
  if (isObject(value)) {
    const members = [...value].map(([key, member]) => [key, normal(member)] as const);
    const kept = members.filter(([, member]) => member !== undefined);
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  }
  if (!Array.isArray(value)) return value instanceof JsonNumber ? value.text : String(value);
  const items = value as JsonValue[];
  const rows = items.filter((item) => item !== null);
  if (items.length === 0) return undefined;
  if (rows.length === 0 || !rows.every(isObject)) return jsonbText(items);
  return rows.map((row) => normal(row) ?? {});
}

/** What classic tables can tell: empty objects and arrays, too, and those with nothing but nulls. */
function classicNormal(value: JsonValue): unknown {
  if (isObject(value)) {
    const members = [...value].filter(([, member]) => member !== null);
    const fields = members.map(([key, member]) => [key, classicField(member)] as const);
    return Object.fromEntries(fields);
  }
  return classicField(value);
}

function classicField(value: JsonValue): unknown {
  if (isObject(value)) return value.size === 0 ? '{}' : classicNormal(value);
  if (!Array.isArray(value)) return value instanceof JsonNumber ? value.text : String(value);
  const rows = (value as JsonValue[]).filter((item) => item !== null);
  return rows.length > 0 && rows.every(isObject) ? rows.map(classicNormal) : jsonbText(value);
}

const EXPECTED: Record<Rules, (document: JsonObject) => unknown> = {
  basic: (document) => normal(document) ?? {},
  classic: classicField,
  v2: jsonbText,
};

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, unknown>;
  at[path[path.length - 1] as string] = value;
}

type Rows = Record<string, string | null>[];

/** Puts documents together from the tables, joined by the parent's hash id: from child rows where
 * there are any, although their parent may have them as jsonb, too. */
async function documentsOf(target: TestTarget): Promise<Map<string, unknown>> {
  const [stored] = await target.rows('SELECT shape FROM _headrace_shapes');
  const shape = stored?.['shape'] as Shape;
  const tables = new Map<Shape[number], Rows>();
  for (const table of shape) {
    const order = table.path.length === 0 ? 'id' : '_headrace_position';
    const cells = await target.rows(`SELECT * FROM "${table.name}" ORDER BY ${order}`);
    const texts = cells.map((row) =>
      Object.entries(row).map(([name, value]) => [
        name,
        value === null
          ? null
          : typeof value === 'object'
            ? jsonbText(parseJson(JSON.stringify(value)))
            : String(value),
      ]),
    );
    tables.set(
      table,
      texts.map((row) => Object.fromEntries(row) as Rows[number]),
    );
  }
  const build = (table: Shape[number], row: Rows[number]): Record<string, unknown> => {
    const result: Record<string, unknown> = {};
    for (const { path, column } of table.fields) {
      if (row[column] !== null) put(result, path, row[column]);
    }
    for (const child of shape) {
      const path = child.path[table.path.length];
      if (path === undefined || child.path.length > table.path.length + 1) continue;
      if (pathKey(child.path.slice(0, -1)) !== pathKey(table.path)) continue;
      const elements = (tables.get(child) as Rows).filter(
        (one) => one[child.parentHashColumn as string] === row[table.hashColumn],
      );
      if (elements.length === 0) continue;
      const objects = elements.map((one) => build(child, one));
      const isArray = elements[0]?.['_headrace_position'] !== null;
      put(result, path, isArray ? objects : objects[0]);
    }
    return result;
  };
  const [root] = shape;
  const found = new Map<string, unknown>();
  for (const row of tables.get(root as Shape[number]) as Rows) {
    const { id, ...rest } = build(root as Shape[number], row);
    found.set(id as string, rest['doc'] ?? {});
  }
  return found;
}

/** How many versions there are, and how many do not end where the next one begins, or are active
 * without being a row as it is. */
function wrongVersions(target: TestTarget): Promise<unknown> {
  return target.rows(
    `WITH v AS (SELECT *, lead(_airbyte_start_at) OVER w AS ends FROM t_scd
       WINDOW w AS (PARTITION BY id ORDER BY _headrace_epoch, _ab_cdc_lsn, _headrace_seq))
     SELECT count(*)::int AS versions, (count(*) FILTER (WHERE v._airbyte_end_at IS DISTINCT FROM v.ends
       OR (v._airbyte_active_row = 1) IS DISTINCT FROM (t.id IS NOT NULL)))::int AS wrong
     FROM v LEFT JOIN t ON t.id = v.id AND t.doc IS NOT DISTINCT FROM v.doc
       AND t._airbyte_ab_id = v._airbyte_ab_id`,
  );
}

/** 500 runs: `HEADRACE_TEST_RUNS=500 npx vitest run test/integration/destinations/postgres/normalized-random.pg.test.ts` */
describe(`random documents (seed ${SEED}) with edits and deletes`, () => {
  it.each(RULES)(
    'are given back by the %s tables after every batch',
    async (rules) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
          async (batches) => {
            const scd = rules === 'classic';
            const config = { normalization: { option: rules, scd } };
            await using target = await newTarget(server, { config });
            const log = new EventLog(target.schemas, deduped('t'), {
              id: { kind: 'int32', native: 'integer' },
              doc: { kind: 'json', native: 'jsonb' },
            });
            const documents = new Map<string, JsonObject>();
            let changes = 0;
            for (const batch of batches) {
              const from = log.count;
              for (const [id, doc] of batch) {
                if (doc === null) log.delete({ id });
                else log.update({ id, doc: jsonbText(doc) });
                if (doc === null) documents.delete(String(id));
                else documents.set(String(id), doc);
              }
              await writeLog(target, log, from);
              const sorted = [...documents].sort();
              const expected = sorted.map(([id, doc]) => [id, EXPECTED[rules](doc)] as const);
              expect(await documentsOf(target)).toEqual(new Map(expected));
              changes += batch.length;
              if (scd)
                expect(await wrongVersions(target)).toEqual([{ versions: changes, wrong: 0 }]);
              if (rules === 'basic') continue;
              const whole = await target.rows('SELECT id::text, doc::text FROM t ORDER BY id');
              expect(whole).toEqual(sorted.map(([id, doc]) => ({ id, doc: jsonbText(doc) })));
            }
          },
        ),
        { numRuns: RUNS, seed: SEED },
      );
    },
    120_000 + RUNS * 3000,
  );

  it('have the hash id that the server computes', async () => {
    await using target = await newTarget(server, BASIC);
    const log = new EventLog(target.schemas, deduped('t'), {
      id: { kind: 'int32', native: 'integer' },
      doc: { kind: 'json', native: 'jsonb' },
    });
    const docs = fc.sample(document, 200);
    docs.forEach((doc, id) => log.create({ id, doc: jsonbText(doc) }));
    for (const [i, text] of [
      '{"n": 1.0e2, "m": -0.0, "k": 1E-5}',
      '[1e400]',
      '"t"',
      '{"é":1,"zz":2,"\\u0007":"\\u0007\\u007f"}',
    ].entries()) {
      log.create({ id: 1000 + i, doc: text });
    }
    await writeLog(target, log);
    const wrong = await target.rows(
      `SELECT r._airbyte_data->>'doc' FROM t JOIN _airbyte_raw_t r USING (_airbyte_ab_id)
       WHERE _airbyte_t_hashid <> md5(id::text || '-' || coalesce(r._airbyte_data->>'doc', ''))`,
    );
    expect(wrong).toEqual([]);
  });
});
