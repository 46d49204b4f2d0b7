import { ERROR_CODES, type ErrorCode } from '../../core/errors/codes.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';

/** The API of a Headrace that runs, for commands that work through it. */
export class RemoteApi {
  private readonly base: string;
  private readonly token: string | null;

  /** `base` without a path: `http://127.0.0.1:8001`. */
  constructor(base: string, token: string | null) {
    this.base = base.replace(/\/$/, '');
    this.token = token;
  }

  /** Throws the error that the API answered; CFG_ADDRESS_UNREACHABLE when it does not answer. */
  async call<T>(path: string, body: object): Promise<T> {
    const response = await fetch(`${this.base}/api/v1/${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.token === null ? {} : { authorization: `Bearer ${this.token}` }),
      },
      body: JSON.stringify(body),
    }).catch((cause: unknown) => {
      throw new PipelineError('CFG_ADDRESS_UNREACHABLE', `no API answers at ${this.base}`, {
        cause,
      });
    });
    const answer = (await response.json().catch(() => ({}))) as Record<string, unknown>;
    if (response.ok) return answer as T;
    const code = String(answer['exceptionClassName']);
    const known = (code in ERROR_CODES ? code : 'BUG_UNEXPECTED') as ErrorCode;
    const said = answer['message'] ?? `status ${response.status}`;
    throw new PipelineError(known, `${path}: ${String(said)}`);
  }
}
