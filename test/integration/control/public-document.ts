import type { TSchema } from 'typebox';
import { Compile } from 'typebox/schema';
import type { Answer } from './api-fixture.ts';

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: { readonly 'application/json': { schema: TSchema } } }>
  >;
}

/** The public API's OpenAPI document as it is served; holds answers against it. */
export class PublicDocument {
  /** `GET /api/public/v1/jobs/{id}` */
  readonly operations: ReadonlyMap<string, Operation>;
  /** Operations that have answered with success. */
  readonly answered = new Set<string>();

  private constructor(paths: Readonly<Record<string, Record<string, Operation>>>) {
    this.operations = new Map(
      Object.entries(paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, each]) => [`${method.toUpperCase()} ${path}`, each]),
      ),
    );
  }

  static async of(url: string, token = 'none'): Promise<PublicDocument> {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${url}/api/public/v1/openapi`, { headers });
    return new PublicDocument(((await answer.json()) as { paths: never }).paths);
  }

  /** `path` below /api/public/v1. Throws when the document says otherwise. */
  check(method: string, path: string, { status, body }: Answer): void {
    if (status >= 300) return;
    const name = this.find(method, path);
    const response = this.operations.get(name)?.responses[status];
    if (response === undefined) throw new Error(`${name} answered ${status}, undocumented`);
    this.answered.add(name);
    const schema = response.content?.['application/json'].schema;
    if (schema === undefined) return;
    const [isRight, errors] = Compile(schema).Errors(body);
    if (isRight) return;
    throw new Error(`${name} answers otherwise than documented: ${JSON.stringify(errors)}`);
  }

  private find(method: string, path: string): string {
    const [asked = ''] = `${method} /api/public/v1/${path}`.split('?');
    const names = [...this.operations.keys()];
    const fits = (name: string): boolean =>
      new RegExp(`^${name.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(asked);
    const found = names.includes(asked) ? asked : names.find(fits);
    if (found === undefined) throw new Error(`${asked} is not in the document`);
    return found;
  }
}
