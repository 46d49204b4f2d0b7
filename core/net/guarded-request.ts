import { lookup } from 'node:dns/promises';
import { request as plainRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { OutgoingRules } from './outgoing-rules.ts';

const MAX_ANSWER_BYTES = 64 << 10;

export interface GuardedRequest {
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** For the whole call, from the look-up of the name to the end of the answer. */
  readonly timeoutMs: number;
  /** Ends the call before that. */
  readonly signal?: AbortSignal;
}

export interface GuardedAnswer {
  readonly status: number;
  /** The first 64 KiB. */
  readonly text: string;
}

/** Every address of a name; another one in tests. */
export type Resolver = (host: string) => Promise<readonly { readonly address: string }[]>;

const resolveName: Resolver = (host) => lookup(host, { all: true });

/**
 * One call to an address that came in through the API, as far as the rules let it. The name is
 * resolved once and the connection goes to what was checked; a redirection is answered, never
 * followed. Throws CFG_ADDRESS_FORBIDDEN, or CFG_ADDRESS_UNREACHABLE with the host and the kind of
 * failure: never the path, the body or what the other side said.
 */
export async function guardedRequest(
  rules: OutgoingRules,
  address: string,
  options: GuardedRequest,
  resolve: Resolver = resolveName,
): Promise<GuardedAnswer> {
  const url = parse(address);
  rules.checkUrl(url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const late = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([late, options.signal]) : late;
  try {
    const target = isIP(host) === 0 ? await checkedAddress(rules, url, resolve) : host;
    return await send(url, target, options, signal);
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    const code = signal.aborted ? 'no answer in time' : ((cause as { code?: string }).code ?? '');
    throw new PipelineError('CFG_ADDRESS_UNREACHABLE', `${host} cannot be reached ${code}`.trim(), {
      details: { host },
      cause,
    });
  }
}

function parse(address: string): URL {
  if (URL.canParse(address)) return new URL(address);
  throw new PipelineError('CFG_ADDRESS_FORBIDDEN', 'the address is not a URL');
}

/** All answers must pass: which of them a connection would take is the other side's choice. */
async function checkedAddress(rules: OutgoingRules, url: URL, resolve: Resolver): Promise<string> {
  const found = await resolve(url.hostname);
  for (const { address } of found) rules.checkAddress(url, address);
  const [first] = found;
  if (first === undefined) throw Object.assign(new Error('no address'), { code: 'ENOTFOUND' });
  return first.address;
}

function send(
  url: URL,
  target: string,
  { method, headers, body }: GuardedRequest,
  signal: AbortSignal,
): Promise<GuardedAnswer> {
  const start = url.protocol === 'https:' ? tlsRequest : plainRequest;
  return new Promise((resolve, reject) => {
    const request: ClientRequest = start(url, {
      method,
      headers: {
        ...headers,
        ...(body === undefined ? {} : { 'content-length': byteLength(body) }),
      },
      agent: false,
      lookup: pinned(target),
      signal,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      readStart(response).then(resolve, reject);
    });
    request.end(body);
  });
}

function byteLength(text: string): string {
  return String(Buffer.byteLength(text));
}

/** A look-up that knows one answer: the address that was checked. */
function pinned(address: string): LookupFunction {
  const family = isIP(address);
  return (_host, options, done) => {
    if (options.all === true) done(null, [{ address, family }]);
    else done(null, address, family);
  };
}

async function readStart(response: IncomingMessage): Promise<GuardedAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk.subarray(0, MAX_ANSWER_BYTES - size));
    size += chunk.length;
    if (size >= MAX_ANSWER_BYTES) break;
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}
