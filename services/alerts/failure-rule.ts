import type { ChannelType, NotificationItem } from '../../core/store/notification-settings.ts';

/** People on Slack hear of the third failure in a row, a program of each. */
const THRESHOLD: Readonly<Record<ChannelType, number>> = { slack: 3, webhook: 1 };
const REPEAT_AFTER = 10;

/** When failures are told of: at the `threshold`th in a row, and again after `repeatAfter` more. */
export interface FailureRule {
  readonly threshold: number;
  readonly repeatAfter: number;
}

/** A threshold of one without more said tells of every failure, as Airbyte does. */
export function failureRule(type: ChannelType, item: NotificationItem): FailureRule {
  const threshold = item.failureThreshold ?? THRESHOLD[type];
  return { threshold, repeatAfter: item.repeatAfter ?? (threshold === 1 ? 1 : REPEAT_AFTER) };
}

export function tellsOfFailure({ threshold, repeatAfter }: FailureRule, inARow: number): boolean {
  return inARow >= threshold && (inARow - threshold) % repeatAfter === 0;
}

/** A success after failures that were told of is told of too. */
export function tellsOfRecovery({ threshold }: FailureRule, failedBefore: number): boolean {
  return failedBefore >= threshold;
}
