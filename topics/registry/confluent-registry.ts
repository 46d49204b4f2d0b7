import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { AvroRecord } from '../../schemas/envelope/avro-schema.ts';
import type { RegisteredSchema, SchemaRegistry } from './schema-registry.ts';

const TIMEOUT_MS = 15_000;
const MEDIA_TYPE = 'application/vnd.schemaregistry.v1+json';
const MAX_REASON = 500;

/** A Confluent-compatible registry server; the rule of compatibility is the server's own setting. */
export class ConfluentRegistry implements SchemaRegistry {
  private readonly base: string;
  private readonly headers: Record<string, string>;
  private readonly ids = new Map<string, number>();
  private readonly schemas = new Map<number, string>();

  /** `url` may hold `user:password@`, sent as basic authentication. */
  constructor(options: { readonly url: string }) {
    const parsed = new URL(options.url);
    const { username, password } = parsed;
    const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    parsed.username = '';
    parsed.password = '';
    this.base = parsed.href.replace(/\/+$/, '');
    this.headers = {
      accept: MEDIA_TYPE,
      'content-type': MEDIA_TYPE,
      ...(username === ''
        ? {}
        : { authorization: `Basic ${Buffer.from(login).toString('base64')}` }),
    };
  }

  async register(subject: string, schema: AvroRecord): Promise<number> {
    const text = JSON.stringify(schema);
    const key = `${subject}\n${text}`;
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const path = `/subjects/${encodeURIComponent(subject)}/versions`;
    const answer = await this.ask(path, JSON.stringify({ schemaType: 'AVRO', schema: text }));
    if (answer.status === 409) {
      throw new PipelineError('SCH_INCOMPATIBLE', `${subject}: ${reasonOf(answer.body)}`, {
        details: { subject },
      });
    }
    const { id } = this.expect<{ id: number }>(answer, path);
    this.ids.set(key, id);
    return id;
  }

  async schemaOf(id: number): Promise<string> {
    const known = this.schemas.get(id);
    if (known !== undefined) return known;
    const path = `/schemas/ids/${id}`;
    const answer = await this.ask(path);
    if (answer.status === 404) {
      throw new PipelineError('SCH_UNKNOWN_ID', `schema ${id} is not in the registry`, {
        details: { schemaId: id },
      });
    }
    const { schema } = this.expect<{ schema: string }>(answer, path);
    this.schemas.set(id, schema);
    return schema;
  }

  async latest(subject: string): Promise<RegisteredSchema | null> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions/latest`;
    const answer = await this.ask(path);
    return answer.status === 404 ? null : this.expect<RegisteredSchema>(answer, path);
  }

  async close(): Promise<void> {}

  private async ask(path: string, body?: string): Promise<{ status: number; body: string }> {
    try {
      const response = await fetch(this.base + path, {
        headers: this.headers,
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(body === undefined ? {} : { method: 'POST', body }),
      });
      return { status: response.status, body: await response.text() };
    } catch (error) {
      throw new PipelineError(
        'SCH_REGISTRY_UNAVAILABLE',
        `the schema registry at ${this.base} does not answer`,
        { cause: error },
      );
    }
  }

  private expect<T>(answer: { status: number; body: string }, path: string): T {
    if (answer.status === 200) return JSON.parse(answer.body) as T;
    const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
    throw new PipelineError(
      refused ? 'SCH_REGISTRY_REFUSED' : 'SCH_REGISTRY_UNAVAILABLE',
      `the schema registry answered ${answer.status} to ${path}: ${reasonOf(answer.body)}`,
      { details: { status: answer.status } },
    );
  }
}

function reasonOf(body: string): string {
  try {
    return String((JSON.parse(body) as { message?: unknown }).message ?? '').slice(0, MAX_REASON);
  } catch {
    return 'no reason given';
  }
}
