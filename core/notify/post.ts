import { toPipelineError } from '../errors/pipeline-error.ts';
import { guardedRequest } from '../net/guarded-request.ts';
import type { OutgoingRules } from '../net/outgoing-rules.ts';
import type { Channel } from '../store/notification-settings.ts';

const TIMEOUT_MS = 10_000;

/** Null when it was taken, else why not; the address is never named, for it is a secret. */
export async function post(
  rules: OutgoingRules,
  channel: Channel,
  message: object,
): Promise<string | null> {
  try {
    const { status, text } = await guardedRequest(rules, channel.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(message),
      timeoutMs: TIMEOUT_MS,
    });
    if (status >= 200 && status < 300) return null;
    return `the receiver answered ${status}: ${text.slice(0, 200)}`;
  } catch (error) {
    const { code, message: why } = toPipelineError(error);
    return `${code}: ${why}`;
  }
}
