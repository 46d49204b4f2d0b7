import type { Subject } from '../store/events.ts';
import type { Channel } from '../store/notification-settings.ts';

/** What is told, before it is put into a receiver's form. */
export interface Alert {
  /** One sentence with the names of things, for people. */
  readonly title: string;
  readonly lines: readonly string[];
  /** For machines; times are ISO text, sizes bytes, durations seconds. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** Slack refuses a longer text in a section. */
const MAX_SECTION = 2900;

/**
 * The body of the POST: `text`, Slack's `blocks`, and `data` for programs, which Slack passes over.
 * Google Chat refuses keys that it does not know and gets the text alone.
 */
export function messageFor(channel: Channel, alert: Alert): object {
  const text = [alert.title, ...alert.lines].map(escape).join('\n');
  if (isGoogleChat(channel)) return { text };
  const section = (body: string): object => ({
    type: 'section',
    text: { type: 'mrkdwn', text: shorten(body) },
  });
  const blocks = [
    section(`*${escape(alert.title)}*`),
    ...(alert.lines.length === 0 ? [] : [section(alert.lines.map(escape).join('\n'))]),
  ];
  return { text, blocks, data: alert.data };
}

/** Names of the connection and its ends, as every alert carries them. */
export function subjectData(subject: Subject, link: Link): Record<string, unknown> {
  return {
    workspace: { id: subject.workspaceId, name: subject.workspaceName },
    connection: {
      id: subject.connectionId,
      name: subject.document.name,
      ...link(`connections/${subject.connectionId}`),
    },
    source: subject.source,
    destination: subject.destination,
  };
}

export type Link = (path: string) => { readonly url?: string };

/** Links lead to the web page of HEADRACE_WEB_URL; without one there are none. */
export function linksTo(webUrl: string | null): Link {
  return (path) => (webUrl === null ? {} : { url: `${webUrl.replace(/\/+$/, '')}/${path}` });
}

export function ends({ source, destination }: Subject): string {
  return `Source: ${source.name}, destination: ${destination.name}`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function shorten(text: string): string {
  return text.length <= MAX_SECTION ? text : `${text.slice(0, MAX_SECTION)} …`;
}

function isGoogleChat({ url }: Channel): boolean {
  return URL.canParse(url) && new URL(url).hostname === 'chat.googleapis.com';
}
