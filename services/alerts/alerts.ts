import type { Connectors } from '../../connectors/registry.ts';
import type { OutgoingRules } from '../../core/net/outgoing-rules.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { Backoff } from '../../core/run/backoff.ts';
import { systemClock, type Clock } from '../../core/run/clock.ts';
import type { Service } from '../../core/run/service.ts';
import type { StoredEvent } from '../../core/store/events.ts';
import type { Store } from '../../core/store/store.ts';
import { deliver } from './deliver.ts';
import { alertsOf } from './event-alerts.ts';
import { linksTo, type Link } from '../../core/notify/message.ts';
import { Watcher } from './watcher.ts';

export interface AlertsOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly rules: OutgoingRules;
  /** Name of this process in the lease; one alerts service works at a time. */
  readonly owner: string;
  readonly webUrl: string | null;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly freshnessEveryMs?: number;
  readonly retainedLogEveryMs?: number;
  readonly retryInMs?: (failedAttempts: number) => number;
}

const LEASE_TTL_MS = 30_000;
const TICK_MS = 500;
const EVENTS_AT_ONCE = 100;
const MESSAGES_AT_ONCE = 8;

/** Tells people and programs of what happened: events of jobs and connections, destinations that
 * fall behind, log that piles up at a source. Everything it has to do lies in the store. */
export function createAlerts(options: AlertsOptions): Service {
  const alerts = new Alerts(options);
  return { name: 'alerts', run: (signal) => alerts.run(signal) };
}

class Alerts {
  private readonly options: AlertsOptions;
  private readonly clock: Clock;
  private readonly link: Link;
  private readonly watcher: Watcher;
  /** Under way: a receiver that hangs holds up no other message. */
  private readonly sending = new Map<number, Promise<void>>();

  constructor(options: AlertsOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.link = linksTo(options.webUrl);
    this.watcher = new Watcher({ ...options, clock: this.clock, link: this.link });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, owner, logger } = this.options;
    const backoff = new Backoff({ firstMs: 200, maxMs: 5_000, clock: this.clock });
    while (!signal.aborted) {
      try {
        await this.tick();
        backoff.reset();
        await this.clock.wait(TICK_MS, signal);
      } catch (error) {
        logger.warn({ err: error, failures: backoff.count }, 'alerts wait for the store');
        await backoff.wait(signal);
      }
    }
    await Promise.all(this.sending.values());
    await store.work.releaseLease('alerts', owner).catch(() => undefined);
  }

  private async tick(): Promise<void> {
    const { store, owner } = this.options;
    if (!(await store.work.acquireLease('alerts', owner, LEASE_TTL_MS))) return;
    for (const event of await store.notifications.events(EVENTS_AT_ONCE)) await this.tell(event);
    this.watcher.look();
    const due = await store.notifications.due(MESSAGES_AT_ONCE + this.sending.size);
    for (const notification of due) {
      if (this.sending.size >= MESSAGES_AT_ONCE || this.sending.has(notification.id)) continue;
      this.send(notification.id, () =>
        deliver(notification, { ...this.options, store: store.notifications }),
      );
    }
  }

  private async tell(event: StoredEvent): Promise<void> {
    const { notifications } = this.options.store;
    const { connectionId, workspaceId } = event.subject;
    const settings = await notifications.settings(workspaceId);
    const messages = alertsOf(event, settings, this.link, this.clock.now());
    if (event.kind === 'disable_warning') {
      // One is written at each failure of the row; the first is told of.
      await notifications.raise(connectionId, event.kind, messages);
      return notifications.settle(event.id, []);
    }
    if (event.job?.status === 'succeeded') {
      await notifications.clear(connectionId, 'disable_warning', []);
    }
    return notifications.settle(event.id, messages);
  }

  private send(id: number, work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => {
        this.options.logger.warn({ err: error, notification: id }, 'notification kept for later');
      })
      .finally(() => this.sending.delete(id));
    this.sending.set(id, running);
  }
}
