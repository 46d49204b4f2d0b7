import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';
import type { FailureReason } from './jobs.ts';

/** A code and its message as job history tells it: what happened, and what to do about it. */
export function failureReason(code: ErrorCode, message: string, at = Date.now()): FailureReason {
  const spec = ERROR_CODES[code];
  return {
    failureOrigin: spec.origin,
    failureType: spec.type,
    externalMessage: `${code}: ${message} ${spec.fix}`,
    internalMessage: code,
    retryable: spec.reaction === 'retry',
    timestamp: at,
  };
}
