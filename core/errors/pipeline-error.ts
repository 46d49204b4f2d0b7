import { ERROR_CODES, type ErrorCode, type ErrorSpec } from './codes.ts';

export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/**
 * The only error class that crosses a folder's border. `message` and `details` name things (a
 * stream, a setting, a position); they never hold row values or secrets (invariant 8).
 */
export class PipelineError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'PipelineError';
    this.code = code;
    this.details = options.details ?? {};
  }

  get spec(): ErrorSpec {
    return ERROR_CODES[this.code];
  }
}

/** Wraps anything thrown into a PipelineError; what no border has classified is a defect of ours. */
export function toPipelineError(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PipelineError('BUG_UNEXPECTED', message, { cause: error });
}
