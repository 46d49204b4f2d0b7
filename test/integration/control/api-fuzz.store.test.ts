import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly fields: readonly string[];
}

const CASES = 6;

let api: ApiFixture;
let known: Record<string, unknown>;
beforeAll(async () => {
  api = await apiContext();
  const connectionId = await createConnection(api);
  const { sourceId, destinationId } = (await api.call('connections/get', { connectionId })).body;
  const { body } = await api.call('connections/sync', { connectionId });
  known = { connectionId, sourceId, destinationId, id: body.job.id, workspaceId: 'default' };
}, 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

/** Every call of both documents with the fields of its body. */
async function operations(): Promise<Operation[]> {
  const all: Operation[] = [];
  for (const base of ['/api/v1', '/api/public/v1']) {
    const { status, body } = await api.get(`${base}/openapi`);
    expect(status).toBe(200);
    expect(body.openapi).toBe('3.1.0');
    for (const [path, methods] of Object.entries<Record<string, never>>(body.paths)) {
      for (const [method, operation] of Object.entries<Record<string, never>>(methods)) {
        const schema = operation['requestBody']?.['content']?.['application/json']?.['schema'];
        all.push({
          method: method.toUpperCase(),
          path,
          fields: Object.keys(schema?.['properties'] ?? {}),
        });
      }
    }
  }
  return all;
}

/** What breaks servers: sizes and texts at the edge, other types, known ids among them. */
const value: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    ...[
      null,
      true,
      -1,
      0,
      1e308,
      2 ** 53,
      18_446_744_073_709_552_000,
      1.5,
      '',
      'default',
      '\u0000',
    ],
    ...[
      '\ud800',
      '%00',
      '../..',
      "'; DROP TABLE x --",
      '{{7*7}}',
      '${env:HOME}',
      [],
      {},
      [[]],
      [{}],
    ],
    ...[{ streams: [{}] }, { streams: [{ stream: { name: 'orders' } }] }, { cron: {} }],
  ),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.uuid(),
  fc.jsonValue({ maxDepth: 3 }),
);

it('no call of its own document makes it fail, hang or answer anything but JSON', async () => {
  const failures: string[] = [];
  const seed = Math.floor(Math.random() * 1e9);
  const calls = await operations();
  expect(calls.length).toBeGreaterThan(80);
  for (const operation of calls) {
    const bodies = fc.sample(bodyOf(operation.fields), { numRuns: CASES, seed });
    for (const body of bodies) failures.push(...(await faultsOf(operation, JSON.stringify(body))));
  }
  for (const operation of calls.slice(0, 3)) {
    for (const method of ['QUERY', 'TRACE', 'PROPFIND', 'OPTIONS']) {
      failures.push(...(await faultsOf({ ...operation, method }, '{}')));
    }
  }
  failures.push(
    ...(await faultsOf(
      { method: 'POST', path: '/api/public/v1/sources', fields: [] },
      'x'.repeat(2 << 20),
    )),
  );
  expect(failures, `seed ${seed}`).toEqual([]);
}, 120_000);

/** Fields that are known by name are half the time right, so that a call comes further than its door. */
function bodyOf(fields: readonly string[]): fc.Arbitrary<object> {
  const each = Object.fromEntries(
    fields.map((name) => [name, name in known ? fc.oneof(fc.constant(known[name]), value) : value]),
  );
  return fc.record(each, { requiredKeys: fields.filter((name) => name in known) });
}

async function faultsOf({ method, path }: Operation, body: string): Promise<string[]> {
  const url = api.url + path.replaceAll(/\{\w+\}/g, encodeURIComponent(String(known['sourceId'])));
  const call = `${method} ${path} ${body.slice(0, 300)}`;
  try {
    const answer = await fetch(url, {
      method,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(30_000),
      ...(method === 'GET' ? {} : { body }),
    });
    const text = await answer.text();
    if (answer.status >= 500) return [`${answer.status} ${call}: ${text.slice(0, 300)}`];
    if (answer.status === 204) return [];
    const parsed = JSON.parse(text) as Record<string, unknown>;
    const says = parsed['message'] ?? parsed['detail'];
    return answer.status < 400 || typeof says === 'string' ? [] : [`no message: ${call}`];
  } catch (error) {
    // fetch itself refuses some methods; that is no answer of ours.
    return (error as Error).message.includes('method') ? [] : [`${call}: ${String(error)}`];
  }
}
