import type { TSchema } from 'typebox';
import { Compile } from 'typebox/schema';
import { OutgoingRules } from '../../../core/net/outgoing-rules.ts';
import { LogTail } from '../../../core/observe/log-tail.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import type { Connectors } from '../../../connectors/registry.ts';
import type { Store } from '../../../core/store/store.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { answerOf } from '../../../services/api/answer-shapes.ts';
import { apiService, type ApiOptions } from '../../../services/api/api.ts';
import {
  DESTINATION_DEFINITION,
  fakeConnectors,
  SOURCE_DEFINITION,
  type FakeConnectors,
} from './fake-connectors.ts';
import { embeddedStore } from './store-fixture.ts';

export interface Answer {
  readonly status: number;
  // Tests look into answers of many shapes.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export interface ApiFixture extends AsyncDisposable {
  readonly url: string;
  readonly store: Store;
  readonly fake: FakeConnectors;
  /** POST /api/v1/<path>; a string is sent as it is. */
  call(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  createSource(configuration?: object): Promise<string>;
  createDestination(definition?: string): Promise<string>;
}

/** The API on a port of its own over a real store; connectors are fakes of our own interface. */
export async function apiContext(
  options: Partial<Pick<ApiOptions, 'registry' | 'verify'>> & {
    token?: string;
    store?: Store;
    requestsPerSecond?: number;
    webPort?: number;
    auditReads?: boolean;
    /** In place of the fakes. */
    connectors?: Connectors;
  } = {},
): Promise<ApiFixture> {
  const owned = options.store === undefined ? await embeddedStore() : null;
  const store = options.store ?? (owned as { store: Store }).store;
  const fake = fakeConnectors();
  const logs = new LogTail({ write: () => undefined });
  const service = apiService({
    store,
    connectors: options.connectors ?? fake,
    rules: new OutgoingRules(['127.0.0.1']),
    logger: createLogger({ level: 'info', service: 'api', destination: logs }),
    logs,
    settings: {
      apiHost: '127.0.0.1',
      apiPort: 0,
      webPort: options.webPort ?? 0,
      auditReads: options.auditReads ?? false,
      apiToken: options.token ?? null,
      apiRequestsPerSecond: options.requestsPerSecond ?? 100_000,
    },
    ...(options.registry && { registry: options.registry }),
    ...(options.verify && { verify: options.verify }),
  });
  const abort = new AbortController();
  const running = service.run(abort.signal);
  const url = `http://127.0.0.1:${await service.listening}`;
  const fixture: ApiFixture = {
    url,
    store,
    fake,
    async call(path, body, headers) {
      const given = await answer(
        fetch(`${url}/api/v1/${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          ...(body !== undefined && {
            body: typeof body === 'string' ? body : JSON.stringify(body),
          }),
        }),
      );
      checkAnswer(path, given);
      return given;
    },
    get: (path, headers = {}) => answer(fetch(`${url}${path}`, { headers })),
    async createSource(configuration = {}) {
      const { body } = await fixture.call('sources/create', {
        workspaceId: DEFAULT_WORKSPACE_ID,
        sourceDefinitionId: SOURCE_DEFINITION,
        name: 'shop',
        connectionConfiguration: { host: 'db', port: 5432, ...configuration },
      });
      return body.sourceId as string;
    },
    async createDestination(definition = DESTINATION_DEFINITION) {
      const { body } = await fixture.call('destinations/create', {
        workspaceId: DEFAULT_WORKSPACE_ID,
        destinationDefinitionId: definition,
        name: 'lake',
        connectionConfiguration: { host: 'lake', port: 1 },
      });
      return body.destinationId as string;
    },
    async [Symbol.asyncDispose]() {
      abort.abort();
      await running;
      await owned?.[Symbol.asyncDispose]();
    },
  };
  return fixture;
}

/** A connection of one stream, fields of `body` before the defaults. */
export async function createConnection(api: ApiFixture, body: object = {}): Promise<string> {
  const answer = await api.call('connections/create', {
    sourceId: await api.createSource(),
    destinationId: await api.createDestination(),
    syncCatalog: { streams: [streamRequest('orders')] },
    ...body,
  });
  if (answer.status !== 200) throw new Error(`create: ${JSON.stringify(answer.body)}`);
  return answer.body.connectionId as string;
}

/** One entry of a syncCatalog as clients send it. */
export function streamRequest(name: string, config: object = {}, more: object = {}): object {
  return {
    stream: { name, namespace: 'public', jsonSchema: {}, ...more },
    config: { syncMode: 'incremental', destinationSyncMode: 'append', ...config },
  };
}

const compiled = new Map<TSchema, ReturnType<typeof Compile>>();

/** Throws when a call answers otherwise than the OpenAPI document says. */
function checkAnswer(path: string, { status, body }: Answer): void {
  if (status >= 300) return;
  const shape = answerOf(path.replace(/\/$/, ''));
  if (shape === undefined) return;
  if ((status === 204) !== (shape === null)) throw new Error(`${path} answered ${status}`);
  if (shape === null) return;
  const check = compiled.get(shape) ?? Compile(shape);
  compiled.set(shape, check);
  if (check.Check(body)) return;
  const [, errors] = check.Errors(body);
  throw new Error(`${path} answers otherwise than documented: ${JSON.stringify(errors)}`);
}

async function answer(response: Promise<Response>): Promise<Answer> {
  const arrived = await response;
  const text = await arrived.text();
  const isJson = arrived.headers.get('content-type')?.includes('json') ?? false;
  return { status: arrived.status, body: isJson ? (JSON.parse(text) as unknown) : text };
}
