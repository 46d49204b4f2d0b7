import { ERROR_CODES, type ErrorCode } from '../../core/errors/codes.ts';
import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import { InvalidRequest, type ValidationError } from './request-body.ts';

/** Airbyte's KnownExceptionInfo; clients read `message`. The class names carry our code. */
export interface ErrorAnswer {
  readonly message: string;
  readonly exceptionClassName: ErrorCode;
  readonly exceptionStack: readonly string[];
  readonly rootCauseExceptionClassName: ErrorCode;
  readonly rootCauseExceptionStack: readonly string[];
  /** What the person who reads it is to do. */
  readonly fix: string;
  readonly id?: string | number;
  /** Seconds until another try can succeed. */
  readonly retryAfter?: number;
  readonly validationErrors?: readonly ValidationError[];
}

/** Status and body for anything that was thrown. What no border has classified keeps its text to the
 * log: it may quote a statement or a value. */
export function errorAnswer(thrown: unknown): { status: number; body: ErrorAnswer } {
  const error = toPipelineError(thrown);
  const known = error.code !== 'BUG_UNEXPECTED';
  const { id, retryAfter } = error.details;
  return {
    status: ERROR_CODES[error.code].http,
    body: {
      message: known ? error.message : 'Internal Server Error: see the log of the API',
      exceptionClassName: error.code,
      exceptionStack: [],
      rootCauseExceptionClassName: error.code,
      rootCauseExceptionStack: [],
      fix: ERROR_CODES[error.code].fix,
      ...(typeof id === 'string' || typeof id === 'number' ? { id } : {}),
      ...(typeof retryAfter === 'number' ? { retryAfter } : {}),
      ...(error instanceof InvalidRequest ? { validationErrors: error.validationErrors } : {}),
    },
  };
}
