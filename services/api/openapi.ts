import type { FastifyInstance, RouteOptions } from 'fastify';
import type { TSchema } from 'typebox';
import { answerOf } from './answer-shapes.ts';
import { publicAnswerOf } from './public-answers.ts';
import { accessOf, type Access } from './route-roles.ts';

const PUBLIC_BASE = '/api/public/v1';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Shapes that the route validates its request by; the OpenAPI document is made of them. */
    body?: TSchema;
    query?: TSchema;
  }
  interface FastifyInstance {
    /** Every route there is. */
    routeEntries: RouteEntry[];
  }
}

/** A route as the document needs it. */
export interface RouteEntry {
  readonly method: string;
  readonly pattern: string;
  readonly body?: TSchema;
  readonly query?: TSchema;
}

/** Notes every route that is added from now on, so that the document cannot know others. */
export function noteRoutes(app: FastifyInstance): void {
  const routes: RouteEntry[] = [];
  app.decorate('routeEntries', routes);
  app.addHook('onRoute', (route: RouteOptions) => {
    const { body, query } = route.config ?? {};
    for (const method of [route.method].flat()) {
      if (method === 'HEAD') continue;
      routes.push({ method, pattern: route.url, ...(body && { body }), ...(query && { query }) });
    }
  });
}

/** Serves the document of each API where its clients look for it. */
export function addOpenApiRoutes(app: FastifyInstance): void {
  for (const base of ['/api/v1', PUBLIC_BASE]) {
    app.get(`${base}/openapi`, () => openApiDocument(app.routeEntries, base));
  }
}

/** OpenAPI 3.1, whose schemas are JSON Schema as it is: the very ones that validate. */
export function openApiDocument(routes: readonly RouteEntry[], base: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes.filter((each) => each.pattern.startsWith(`${base}/`))) {
    const path = route.pattern.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route, base);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: base === '/api/v1' ? 'Headrace configuration API' : 'Headrace public API',
      version: '1.0.0',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Error: base === '/api/v1' ? ERROR : PROBLEM },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic' },
      },
    },
  };
}

function operation(route: RouteEntry, base: string): object {
  const access = accessOf(route.method, route.pattern);
  const [family = ''] = route.pattern.slice(base.length + 1).split('/');
  return {
    operationId: operationId(route),
    tags: [family],
    description: says(access),
    security: access === 'open' ? [] : [{ bearer: [] }, { basic: [] }],
    parameters: [...pathParameters(route.pattern), ...queryParameters(route.query)],
    ...(route.body && {
      requestBody: { required: true, content: { 'application/json': { schema: route.body } } },
    }),
    responses: {
      ...answers(route, base),
      default: {
        description: 'Refused, or failed',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function answers({ method, pattern }: RouteEntry, base: string): Record<string, object> {
  const shape =
    base === PUBLIC_BASE ? publicAnswerOf(method, pattern.slice(base.length)) : answerOf(pattern);
  const nothing = { '204': { description: 'Done; nothing to answer' } };
  if (shape === null) return nothing;
  const content = { 'application/json': { schema: shape ?? {} } };
  const something = { '200': { description: 'Done', content } };
  return shape === undefined ? { ...something, ...nothing } : something;
}

function says(access: Access): string {
  return access === 'open' ? 'Needs no token.' : `Needs a token of the role ${access} or above.`;
}

function operationId({ method, pattern }: RouteEntry): string {
  const words = pattern.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [method.toLowerCase(), ...words].join('_');
}

function pathParameters(pattern: string): object[] {
  return [...pattern.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(query: TSchema | undefined): object[] {
  const { properties = {}, required = [] } = (query ?? {}) as {
    properties?: Record<string, object>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
}

const text = { type: 'string' };
const texts = { type: 'array', items: text };

/** What `errorAnswer` makes. */
const ERROR = {
  type: 'object',
  required: ['message', 'exceptionClassName', 'exceptionStack', 'fix'],
  properties: {
    message: text,
    exceptionClassName: { ...text, description: 'One of the codes of docs/errors.md' },
    exceptionStack: texts,
    rootCauseExceptionClassName: text,
    rootCauseExceptionStack: texts,
    fix: { ...text, description: 'What to do about it' },
    id: { type: ['string', 'integer'] },
    validationErrors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['propertyPath', 'message'],
        properties: { propertyPath: text, message: text },
      },
    },
  },
};

const PROBLEM = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail'],
  properties: {
    type: text,
    title: text,
    status: { type: 'integer' },
    detail: text,
    documentationUrl: text,
    data: { type: 'object' },
  },
};
