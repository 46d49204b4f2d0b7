import { OutgoingRules } from '../../../core/net/outgoing-rules.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import type { Connectors } from '../../../connectors/registry.ts';
import type { Store } from '../../../core/store/store.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
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
  options: Partial<Pick<ApiOptions, 'registry'>> & {
    token?: string;
    store?: Store;
    requestsPerSecond?: number;
    webPort?: number;
    /** In place of the fakes. */
    connectors?: Connectors;
  } = {},
): Promise<ApiFixture> {
  const owned = options.store === undefined ? await embeddedStore() : null;
  const store = options.store ?? (owned as { store: Store }).store;
  const fake = fakeConnectors();
  const service = apiService({
    store,
    connectors: options.connectors ?? fake,
    rules: new OutgoingRules(['127.0.0.1']),
    logger: createLogger({ level: 'silent', service: 'api' }),
    settings: {
      apiHost: '127.0.0.1',
      apiPort: 0,
      webPort: options.webPort ?? 0,
      apiToken: options.token ?? null,
      apiRequestsPerSecond: options.requestsPerSecond ?? 100_000,
    },
    ...(options.registry && { registry: options.registry }),
  });
  const abort = new AbortController();
  const running = service.run(abort.signal);
  const url = `http://127.0.0.1:${await service.listening}`;
  const fixture: ApiFixture = {
    url,
    store,
    fake,
    call: (path, body, headers) =>
      answer(
        fetch(`${url}/api/v1/${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          ...(body !== undefined && {
            body: typeof body === 'string' ? body : JSON.stringify(body),
          }),
        }),
      ),
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

async function answer(response: Promise<Response>): Promise<Answer> {
  const arrived = await response;
  const text = await arrived.text();
  const isJson = arrived.headers.get('content-type')?.includes('json') ?? false;
  return { status: arrived.status, body: isJson ? (JSON.parse(text) as unknown) : text };
}
