import { ERROR_CODES, type ErrorCode } from '../../core/errors/codes.ts';
import type { Settings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';

/** Asks the API that runs beside a command: it has the store open. Throws API_UNREACHABLE, or what the
 * API refuses the call with. */
export async function postToApi(
  { apiHost, apiPort, apiToken }: Settings,
  path: string,
  body: object,
): Promise<Response> {
  const host =
    apiHost === '0.0.0.0' ? '127.0.0.1' : apiHost.includes(':') ? `[${apiHost}]` : apiHost;
  const url = `http://${host}:${apiPort}/api/v1/${path}`;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(apiToken === null ? {} : { authorization: `Bearer ${apiToken}` }),
      },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw refused(await response.json());
    return response;
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw new PipelineError('API_UNREACHABLE', `the API does not answer at ${url}`, { cause });
  }
}

function refused(answer: unknown): PipelineError {
  const { message, exceptionClassName } = answer as { message: string; exceptionClassName: string };
  const code = exceptionClassName in ERROR_CODES ? (exceptionClassName as ErrorCode) : null;
  return new PipelineError(code ?? 'API_INVALID_REQUEST', message);
}
