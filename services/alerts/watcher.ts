import type { Connectors } from '../../connectors/registry.ts';
import { metrics } from '../../core/observe/metrics.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { Clock } from '../../core/run/clock.ts';
import type { MonitoredConnection, MonitoredSource } from '../../core/store/monitoring.ts';
import {
  channelsFor,
  type NotificationSettings,
  type Trigger,
} from '../../core/store/notification-settings.ts';
import type { Store } from '../../core/store/store.ts';
import { toAll } from './event-alerts.ts';
import type { Alert, Link } from '../../core/notify/message.ts';
import {
  budgetMbOf,
  freshnessAlert,
  isOverBudget,
  objectiveOf,
  retainedLogAlert,
  stalenessOf,
} from './watch.ts';

export interface WatcherOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly link: Link;
  readonly logger: Logger;
  readonly freshnessEveryMs?: number;
  readonly retainedLogEveryMs?: number;
}

const FRESHNESS_EVERY_MS = 10_000;
const RETAINED_LOG_EVERY_MS = 60_000;

/** Looks from time to time at what no event tells of: how far connections are behind, and how much
 * log the sources' servers keep for us, also for connections that are switched off. */
export class Watcher {
  private readonly options: WatcherOptions;
  private readonly lookedAt = new Map<string, number>();
  private readonly underWay = new Set<string>();

  constructor(options: WatcherOptions) {
    this.options = options;
  }

  /** Never waits: a source that does not answer holds nothing up. */
  look(): void {
    const { freshnessEveryMs, retainedLogEveryMs } = this.options;
    this.every('freshness', freshnessEveryMs ?? FRESHNESS_EVERY_MS, () => this.freshness());
    this.every('retained log', retainedLogEveryMs ?? RETAINED_LOG_EVERY_MS, () => this.logs());
  }

  private every(name: string, intervalMs: number, work: () => Promise<void>): void {
    const now = this.options.clock.now();
    if (this.underWay.has(name) || now - (this.lookedAt.get(name) ?? 0) < intervalMs) return;
    this.lookedAt.set(name, now);
    this.underWay.add(name);
    work()
      .catch((error: unknown) => {
        this.options.logger.warn({ err: error, look: name }, 'look failed; it is taken again');
      })
      .finally(() => this.underWay.delete(name));
  }

  private async freshness(): Promise<void> {
    const { store, clock } = this.options;
    const connections = await store.monitoring.activeConnections();
    for (const connection of connections) {
      const settings = await store.notifications.settings(connection.subject.workspaceId);
      await this.judgeFreshness(connection, settings, clock.now());
    }
    await this.forget('freshness', new Set(connections.map((c) => c.subject.connectionId)));
  }

  private async judgeFreshness(
    connection: MonitoredConnection,
    settings: NotificationSettings,
    now: number,
  ): Promise<void> {
    const { connectionId } = connection.subject;
    const objective = objectiveOf(connection, settings);
    const seconds = stalenessOf(connection, now);
    metrics.behindSeconds.set({ connection: connectionId }, seconds);
    const holds = objective !== null && seconds > objective;
    const figures = { seconds, objective: objective ?? 0, holds };
    const alert = freshnessAlert(connection, figures, this.options.link);
    await this.stand('freshness', connectionId, holds, alert, settings);
  }

  private async logs(): Promise<void> {
    const { store } = this.options;
    const sources = await store.monitoring.sources();
    await Promise.all(sources.map((source) => this.askForLog(source)));
    await this.forget('retained_log', new Set(sources.map((source) => source.captureId)));
  }

  private async askForLog(source: MonitoredSource): Promise<void> {
    const { store, connectors, logger, link } = this.options;
    try {
      const connector = await connectors.sources.load(source.connector);
      const bytes = (await connector.retainedLogBytes?.(source.configuration)) ?? null;
      if (bytes === null) return;
      await store.monitoring.saveRetainedLog(source.captureId, bytes);
      const subject = source.subjects[0];
      if (subject === undefined) return;
      metrics.retainedLogBytes.set({ source: subject.source.name }, bytes);
      const settings = await store.notifications.settings(subject.workspaceId);
      const budgetMb = budgetMbOf(settings);
      const holds = isOverBudget(bytes, budgetMb);
      const alert = retainedLogAlert(source, { bytes, budgetMb, holds }, link);
      if (alert !== null) {
        await this.stand('retained_log', source.captureId, holds, alert, settings);
      }
    } catch (error) {
      // Its own service tells of a source that cannot be reached.
      logger.debug({ err: error, source: source.captureId }, 'retained log is not known');
    }
  }

  private async stand(
    kind: Extract<Trigger, 'freshness' | 'retained_log'>,
    subject: string,
    holds: boolean,
    alert: Alert,
    settings: NotificationSettings,
  ): Promise<void> {
    const { notifications } = this.options.store;
    const messages = toAll(channelsFor(settings, kind), alert);
    if (holds) await notifications.raise(subject, kind, messages);
    else await notifications.clear(subject, kind, messages);
  }

  /** What is not watched any more (switched off, deleted) must be told of anew when it comes back. */
  private async forget(kind: string, watched: ReadonlySet<string>): Promise<void> {
    const { notifications } = this.options.store;
    for (const standing of await notifications.standing()) {
      if (standing.kind !== kind || watched.has(standing.subject)) continue;
      await notifications.clear(standing.subject, kind, []);
    }
  }
}
