import { failureReason } from '../../core/store/failure-reason.ts';
import type { FailureReason } from '../../core/store/jobs.ts';
import type { ReportedError } from '../../core/store/work.ts';

const CODES = ['SRC_OUT_OF_MEMORY', 'SNK_OUT_OF_MEMORY'];

/**
 * Deaths for want of memory since an attempt began (epoch milliseconds). Such an attempt ends at
 * once, for the next process would most likely go the same way: waiting it out would hide the cause
 * until somebody asks why nothing moves. Older ones were an earlier attempt's.
 */
export function memoryDeaths(
  errors: readonly (ReportedError | undefined)[],
  attemptBegunAt: number,
): FailureReason[] {
  return errors
    .filter((error) => error !== undefined)
    .filter(({ code, at }) => CODES.includes(code) && at >= attemptBegunAt)
    .map(({ code, message, at }) => failureReason(code, message, at));
}
