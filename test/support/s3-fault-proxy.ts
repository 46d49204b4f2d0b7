import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type S3Operation =
  | 'PutObject'
  | 'UploadPart'
  | 'CreateMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'GetObject'
  | 'HeadObject'
  | 'ListObjects'
  | 'Other';

/** `lost`: the store has done it, and the connection is reset instead of an answer. `refused`: a 503
 * SlowDown, and the store was not asked. `false success`: the store was not asked, and the answer is a
 * 200 with an error in its body, as stores answer the completion of a large upload. `silent`: the store has done it, and the connection
 * stays open without an answer. */
export type S3Fault = 'lost' | 'refused' | 'false success' | 'silent';

interface Rule {
  readonly operation: S3Operation;
  readonly key: RegExp;
  readonly fault: S3Fault;
  times: number;
  readonly done: () => void;
}

const SLOW_DOWN =
  '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slow</Message></Error>';
const INTERNAL =
  '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>no</Message></Error>';

/** A proxy before a real S3 server that breaks chosen operations. Signatures stay valid: they cover the
 * host that the client asked, and the server takes that from the header. */
export class S3FaultProxy implements AsyncDisposable {
  private readonly rules: Rule[] = [];
  private readonly upstream: URL;
  private readonly server = createServer((from, to) => void this.serve(from, to));

  private constructor(upstream: string) {
    this.upstream = new URL(upstream);
  }

  static async listen(upstream: string): Promise<S3FaultProxy> {
    const proxy = new S3FaultProxy(upstream);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Resolves when the fault has happened for the last time. */
  break(operation: S3Operation, key: RegExp, fault: S3Fault, times = 1): Promise<void> {
    return new Promise((done) => {
      this.rules.push({ operation, key, fault, times, done });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async serve(from: IncomingMessage, to: ServerResponse): Promise<void> {
    try {
      const body = await bytesOf(from);
      const fault = this.faultOf(from);
      if (fault === 'refused') {
        to.writeHead(503, { 'content-type': 'application/xml' }).end(SLOW_DOWN);
        return;
      }
      if (fault === 'false success') {
        to.writeHead(200, { 'content-type': 'application/xml' }).end(INTERNAL);
        return;
      }
      const answer = await this.ask(from, body);
      const answered = await bytesOf(answer);
      if (fault === 'silent') return;
      if (fault === 'lost') from.socket.resetAndDestroy();
      else to.writeHead(answer.statusCode ?? 500, answer.headers).end(answered);
    } catch {
      from.socket.resetAndDestroy();
    }
  }

  private async ask(from: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const { hostname, port } = this.upstream;
    const { method, url: path, headers } = from;
    const asked = request({ hostname, port, method, path, headers });
    asked.end(body);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return answer;
  }

  private faultOf({ method, url = '' }: IncomingMessage): S3Fault | null {
    const { pathname, searchParams } = new URL(url, 'http://host');
    const operation = operationOf(method ?? '', searchParams);
    const key = decodeURIComponent(pathname);
    const rule = this.rules.find((each) => each.operation === operation && each.key.test(key));
    if (rule === undefined) return null;
    rule.times--;
    if (rule.times === 0) {
      this.rules.splice(this.rules.indexOf(rule), 1);
      rule.done();
    }
    return rule.fault;
  }
}

function operationOf(method: string, query: URLSearchParams): S3Operation {
  if (method === 'PUT') return query.has('partNumber') ? 'UploadPart' : 'PutObject';
  if (method === 'POST' && query.has('uploads')) return 'CreateMultipartUpload';
  if (method === 'POST' && query.has('uploadId')) return 'CompleteMultipartUpload';
  if (method === 'GET') return query.has('list-type') ? 'ListObjects' : 'GetObject';
  return method === 'HEAD' ? 'HeadObject' : 'Other';
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
