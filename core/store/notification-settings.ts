/** Where a workspace's alerts go, in Airbyte's words: `notificationSettings` by event, and the older
 * `notifications` list for all of them. */

export const TRIGGERS = {
  failure: 'sendOnFailure',
  success: 'sendOnSuccess',
  disabled: 'sendOnSyncDisabled',
  disable_warning: 'sendOnSyncDisabledWarning',
  freshness: 'sendOnFreshness',
  retained_log: 'sendOnRetainedLog',
  schema_change: 'sendOnConnectionUpdate',
  schema_break: 'sendOnConnectionUpdateActionRequired',
} as const;

export type Trigger = keyof typeof TRIGGERS;

export interface ChannelFields {
  readonly slackConfiguration?: { readonly webhook: string };
  readonly webhookConfiguration?: { readonly webhook: string };
}

/** One event of `notificationSettings`; the numbers are our own and belong to the event they name. */
export interface NotificationItem extends ChannelFields {
  readonly notificationType?: readonly string[];
  readonly failureThreshold?: number;
  readonly repeatAfter?: number;
  readonly objectiveSeconds?: number;
  readonly budgetMb?: number;
}

export interface LegacyNotification extends ChannelFields {
  readonly notificationType: string;
  readonly sendOnSuccess?: boolean;
  readonly sendOnFailure?: boolean;
}

export interface NotificationSettings {
  readonly notificationSettings?: Readonly<Record<string, NotificationItem>>;
  readonly notifications?: readonly LegacyNotification[];
}

export type ChannelType = 'slack' | 'webhook';

export interface Channel {
  readonly type: ChannelType;
  readonly url: string;
}

/** What needs somebody goes where failures go when nothing is said of it. */
const LIKE_FAILURES: readonly Trigger[] = ['freshness', 'retained_log', 'schema_break'];

/** Every channel that is told of an event, each once. */
export function channelsFor(settings: NotificationSettings, trigger: Trigger): Channel[] {
  const found = [...itemChannels(settings, trigger), ...legacyChannels(settings, trigger)];
  return distinct(found).filter(({ url }) => url !== '');
}

export function distinct(channels: readonly Channel[]): Channel[] {
  return channels.filter((each, i) => channels.findIndex((other) => isSame(each, other)) === i);
}

/** The event's own entry, and the one of failures for an event of ours that has none. */
export function itemFor(settings: NotificationSettings, trigger: Trigger): NotificationItem {
  const items = settings.notificationSettings ?? {};
  const own = items[TRIGGERS[trigger]];
  if (own !== undefined || !LIKE_FAILURES.includes(trigger)) return own ?? {};
  const { failureThreshold: _, repeatAfter: __, ...channels } = items[TRIGGERS.failure] ?? {};
  return channels;
}

function itemChannels(settings: NotificationSettings, trigger: Trigger): Channel[] {
  const item = itemFor(settings, trigger);
  return (item.notificationType ?? []).flatMap((type) => channelOf(type, item));
}

function legacyChannels({ notifications = [] }: NotificationSettings, trigger: Trigger): Channel[] {
  return notifications
    .filter(({ sendOnSuccess = false, sendOnFailure = true }) =>
      trigger === 'success' ? sendOnSuccess : sendOnFailure,
    )
    .flatMap((each) => channelOf(each.notificationType, each));
}

/** Other types of Airbyte's (its own mail service) have no address here. */
export function channelOf(type: string, fields: ChannelFields): Channel[] {
  const url = type === 'slack' ? fields.slackConfiguration : fields.webhookConfiguration;
  if ((type !== 'slack' && type !== 'webhook') || url === undefined) return [];
  return [{ type, url: url.webhook }];
}

function isSame(a: Channel, b: Channel): boolean {
  return a.type === b.type && a.url === b.url;
}
