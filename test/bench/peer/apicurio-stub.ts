import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Registered {
  readonly id: string;
  readonly schema: string;
  readonly references: readonly unknown[];
  readonly globalId: number;
}

/**
 * The two calls of Apicurio Registry (version 2 of its API) that the Avro converter makes: register a
 * schema, and get it by its number. Once per schema: the converter keeps the answers, so that the
 * speed of a registry is in no figure.
 */
export class ApicurioStub implements AsyncDisposable {
  private readonly known = new Map<string, Registered>();
  private readonly server = createServer((request, response) => {
    void this.answer(request, response);
  });

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const { port } = this.server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/apis/registry/v2`;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request);
    const path = (request.url ?? '').split('?')[0] ?? '';
    const group = /\/groups\/([^/]+)\/artifacts$/.exec(path)?.[1];
    const [, number, references] =
      /\/ids\/(?:globalIds|contentIds)\/(\d+)(\/references)?$/.exec(path) ?? [];
    const found = [...this.known.values()].find(({ globalId }) => globalId === Number(number));
    response.setHeader('content-type', 'application/json');
    if (request.method === 'POST' && group !== undefined) {
      response.end(JSON.stringify(described(this.register(request, body), group)));
    } else if (found !== undefined) {
      response.setHeader('X-Registry-ArtifactType', 'AVRO');
      response.end(references === undefined ? found.schema : JSON.stringify(found.references));
    } else {
      response.statusCode = 404;
      response.end('{"error_code":404,"name":"ArtifactNotFoundException","message":"not found"}');
    }
  }

  private register(request: IncomingMessage, body: string): Registered {
    const extended = (request.headers['content-type'] ?? '').includes('create.extended');
    const { content, references } = extended
      ? (JSON.parse(body) as { content: string; references?: unknown[] })
      : { content: body, references: [] };
    const id = String(request.headers['x-registry-artifactid'] ?? 'unnamed');
    const key = `${id}\n${content}`;
    const registered = this.known.get(key) ?? {
      id,
      schema: content,
      references: references ?? [],
      globalId: this.known.size + 1,
    };
    this.known.set(key, registered);
    return registered;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function described({ id, globalId, references }: Registered, groupId: string) {
  return {
    id,
    groupId,
    name: id,
    version: '1',
    type: 'AVRO',
    state: 'ENABLED',
    globalId,
    contentId: globalId,
    createdOn: '2026-01-01T00:00:00+0000',
    modifiedOn: '2026-01-01T00:00:00+0000',
    references,
  };
}
