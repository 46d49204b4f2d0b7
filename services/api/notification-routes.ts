import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { messageFor, type Alert } from '../../core/notify/message.ts';
import { post } from '../../core/notify/post.ts';
import { channelOf, type Channel } from '../../core/store/notification-settings.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { Notification } from './notification-requests.ts';
import { InvalidRequest, Text, WorkspaceRef } from './request-body.ts';

/** Airbyte's newer call names the event whose message is to be tried. */
const TryWebhook = Type.Object({
  workspaceId: WorkspaceRef,
  notificationTrigger: Text,
  slackConfiguration: Type.Object({ webhook: Text }),
});

/** A test really posts; a receiver that refuses is part of the answer, not an error. */
export function addNotificationRoutes(app: FastifyInstance, context: ApiContext): void {
  addCall(app, 'notifications/try', Notification, (body) => tryChannel(context, channel(body), ''));
  addCall(app, 'notifications/try_webhook', TryWebhook, (body) =>
    tryChannel(
      context,
      { type: 'slack', url: body.slackConfiguration.webhook },
      body.notificationTrigger,
    ),
  );
}

function channel(body: Static<typeof Notification>): Channel {
  const [found] = channelOf(body.notificationType, body);
  if (found !== undefined) return found;
  throw new InvalidRequest([
    {
      propertyPath: 'notificationType',
      message: 'must be slack or webhook, with its configuration beside it',
    },
  ]);
}

async function tryChannel(
  { rules }: ApiContext,
  target: Channel,
  trigger: string,
): Promise<object> {
  const alert: Alert = {
    title: 'Test message from Headrace',
    lines: [trigger === '' ? 'Alerts will arrive here.' : `Alerts of ${trigger} will arrive here.`],
    data: { event: 'test', ...(trigger === '' ? {} : { notificationTrigger: trigger }) },
  };
  const refused = await post(rules, target, messageFor(target, alert));
  return refused === null
    ? { status: 'succeeded', message: 'The test message was delivered.' }
    : { status: 'failed', message: refused };
}
