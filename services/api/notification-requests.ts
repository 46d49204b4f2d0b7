import Type, { type Static } from 'typebox';
import {
  TRIGGERS,
  type ChannelFields,
  type NotificationSettings,
} from '../../core/store/notification-settings.ts';
import type { Store } from '../../core/store/store.ts';
import { SECRET_MASK, unmaskSecrets } from './connector-config.ts';
import { Text } from './request-body.ts';

const Maybe = Type.Optional;
const Count = Type.Integer({ minimum: 1, maximum: 1_000_000_000 });

const channels = {
  slackConfiguration: Maybe(Type.Object({ webhook: Text })),
  /** Our own: the same message for any program. */
  webhookConfiguration: Maybe(Type.Object({ webhook: Text })),
};

const Item = Type.Object({
  notificationType: Maybe(Type.Array(Text)),
  ...channels,
  failureThreshold: Maybe(Count),
  repeatAfter: Maybe(Count),
  objectiveSeconds: Maybe(Count),
  budgetMb: Maybe(Count),
});

export const Notification = Type.Object({
  notificationType: Text,
  sendOnSuccess: Maybe(Type.Boolean()),
  sendOnFailure: Maybe(Type.Boolean()),
  ...channels,
});

/** What a workspace has of alerts, in Airbyte's newer and older form. */
export const notificationFields = {
  notifications: Maybe(Type.Array(Notification)),
  notificationSettings: Maybe(
    Type.Object(Object.fromEntries(Object.values(TRIGGERS).map((name) => [name, Maybe(Item)]))),
  ),
};

const Fields = Type.Object(notificationFields);

/** The address of a webhook is its secret; the mask in an update leaves it as it was. */
export async function updateNotifications(
  store: Store,
  workspaceId: string,
  body: Static<typeof Fields>,
): Promise<void> {
  const stored = await store.notifications.settings(workspaceId);
  const { notifications, notificationSettings } = body;
  const given = {
    ...(notifications === undefined ? {} : { notifications }),
    ...(notificationSettings === undefined ? {} : { notificationSettings }),
  };
  if (Object.keys(given).length === 0) return;
  const complete = unmaskSecrets(given, stored as Record<string, unknown>);
  await store.notifications.saveSettings(workspaceId, { ...stored, ...complete });
}

export function maskNotifications(settings: NotificationSettings): NotificationSettings {
  const { notifications, notificationSettings } = settings;
  return {
    ...(notifications && { notifications: notifications.map(masked) }),
    ...(notificationSettings && {
      notificationSettings: Object.fromEntries(
        Object.entries(notificationSettings).map(([name, item]) => [name, masked(item)]),
      ),
    }),
  };
}

function masked<T extends ChannelFields>(item: T): T {
  const { slackConfiguration, webhookConfiguration } = item;
  return {
    ...item,
    ...(slackConfiguration && { slackConfiguration: { webhook: SECRET_MASK } }),
    ...(webhookConfiguration && { webhookConfiguration: { webhook: SECRET_MASK } }),
  };
}
