import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfluentRegistry } from '../../../topics/registry/confluent-registry.ts';

/** A server that speaks as much of the registry's protocol as the client uses. */
let server: Server;
let url: string;
const seen: { login: string | undefined; posts: number } = { login: undefined, posts: 0 };
const schemas: string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.login = request.headers.authorization;
    void answer(request).then(({ status, body }) => {
      response.writeHead(status).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://ann:p%40ss@127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterAll(() => {
  server.close();
});

async function answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
  const path = decodeURIComponent(request.url ?? '');
  if (request.method === 'POST') {
    seen.posts++;
    if (path.includes('/refused/')) {
      return { status: 409, body: { error_code: 409, message: 'field n: type mismatch' } };
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { schema } = JSON.parse(Buffer.concat(chunks).toString()) as { schema: string };
    return { status: 200, body: { id: schemas.push(schema) } };
  }
  if (path === '/schemas/ids/403') return { status: 403, body: { message: 'no' } };
  if (path === '/schemas/ids/500') return { status: 500, body: { message: 'oops' } };
  const id = Number(/^\/schemas\/ids\/(\d+)$/.exec(path)?.[1] ?? 0);
  const found = path.endsWith('/t-value/versions/latest') ? schemas.length : id;
  const schema = schemas[found - 1];
  if (schema === undefined) return { status: 404, body: { error_code: 40403, message: 'none' } };
  return { status: 200, body: { id: found, version: 1, schema } };
}

const SCHEMA = { type: 'record', name: 'Key', namespace: 'a', fields: [] } as const;

test('registers once, reads by id and by subject, logs in', async () => {
  const registry = new ConfluentRegistry({ url });
  const id = await registry.register('t-value', SCHEMA);
  expect(await registry.register('t-value', SCHEMA)).toBe(id);
  expect(seen).toEqual({
    login: `Basic ${Buffer.from('ann:p@ss').toString('base64')}`,
    posts: 1,
  });
  expect(JSON.parse(await registry.schemaOf(id))).toEqual(SCHEMA);
  expect(await registry.latest('t-value')).toMatchObject({ id, version: 1 });
  expect(await registry.latest('unheard-of')).toBeNull();
});

test('answers are classified', async () => {
  const registry = new ConfluentRegistry({ url });
  await expect(registry.register('refused', SCHEMA)).rejects.toMatchObject({
    code: 'SCH_INCOMPATIBLE',
    message: 'refused: field n: type mismatch',
  });
  await expect(registry.schemaOf(404)).rejects.toMatchObject({ code: 'SCH_UNKNOWN_ID' });
  await expect(registry.schemaOf(403)).rejects.toMatchObject({ code: 'SCH_REGISTRY_REFUSED' });
  await expect(registry.schemaOf(500)).rejects.toMatchObject({ code: 'SCH_REGISTRY_UNAVAILABLE' });
  const nobody = new ConfluentRegistry({ url: 'http://ann:secret@127.0.0.1:1' });
  const error: Error = await nobody.schemaOf(1).then(
    () => expect.fail('it must not answer'),
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'SCH_REGISTRY_UNAVAILABLE' });
  expect(error.message).not.toContain('secret');
});
