import type { Logger } from '../../core/observe/logger.ts';
import { metrics } from '../../core/observe/metrics.ts';
import type { OutgoingRules } from '../../core/net/outgoing-rules.ts';
import { post } from '../../core/notify/post.ts';
import type { Notification, Notifications } from '../../core/store/notifications.ts';

const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 600_000;
/** The last try comes about an hour after the first. */
const MAX_ATTEMPTS = 10;

export interface DeliverOptions {
  readonly rules: OutgoingRules;
  readonly store: Notifications;
  readonly logger: Logger;
  readonly retryInMs?: (failedAttempts: number) => number;
}

/** Tries one waiting message; a receiver that is away costs nobody else anything. */
export async function deliver(notification: Notification, options: DeliverOptions): Promise<void> {
  const { rules, store, logger, retryInMs = backOff } = options;
  const { id, target, message, failedAttempts } = notification;
  const refused = await post(rules, target, message);
  const type = target.type;
  if (refused === null) {
    metrics.notifications.inc({ type, outcome: 'delivered' });
    return store.done(id);
  }
  if (failedAttempts + 1 >= MAX_ATTEMPTS) {
    metrics.notifications.inc({ type, outcome: 'given_up' });
    logger.error({ notification: id, type, why: refused }, 'notification given up');
    return store.done(id);
  }
  metrics.notifications.inc({ type, outcome: 'failed' });
  logger.warn({ notification: id, type, why: refused }, 'notification not delivered yet');
  await store.failed(id, retryInMs(failedAttempts));
}

function backOff(failedAttempts: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failedAttempts);
}
