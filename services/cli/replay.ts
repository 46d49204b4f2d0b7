import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { loadSettings, type Settings } from '../../core/config/settings.ts';
import { postToApi } from './api-call.ts';

interface Flags {
  readonly stream?: string;
  readonly from: string;
  readonly rebuild?: boolean;
  readonly wait: boolean;
}

const POLL_MS = 500;

/** `headrace replay`: delivers streams of a connection again from their topics. */
export function addReplayCommand(program: Command): void {
  program
    .command('replay')
    .description('deliver streams again from their topics')
    .argument('<connection>', 'its id')
    .option('--stream <namespace.name>', 'this stream alone')
    .option('--from <where>', 'beginning, an offset, or a time in ISO 8601', 'beginning')
    .option('--rebuild', 'beside what is there, which it replaces in the end')
    .option('--no-wait', 'do not wait until it is durable')
    .action((connectionId: string, flags: Flags) =>
      replay(loadSettings(process.env), connectionId, flags),
    );
}

async function replay(settings: Settings, connectionId: string, flags: Flags): Promise<void> {
  const { stream, from, rebuild = false, wait } = flags;
  const ordered = await postToApi(settings, 'connections/replay', {
    connectionId,
    from,
    rebuild,
    ...(stream === undefined ? {} : { streams: [namesOf(stream)] }),
  });
  const order = (await ordered.json()) as { replayId: string };
  if (wait) await ended(settings, connectionId, order.replayId);
  process.stdout.write(`${JSON.stringify(order)}\n`);
}

/** A stream without a namespace is named by itself; a dot in a name goes with the name. */
function namesOf(label: string): { streamName: string; streamNamespace?: string } {
  const dot = label.indexOf('.');
  if (dot === -1) return { streamName: label };
  return { streamNamespace: label.slice(0, dot), streamName: label.slice(dot + 1) };
}

async function ended(settings: Settings, connectionId: string, replayId: string): Promise<void> {
  for (;;) {
    const response = await postToApi(settings, 'connections/status', { connectionId });
    const { streams } = (await response.json()) as {
      streams: { replay?: { replayId: string; status: string } }[];
    };
    const open = streams.some(
      ({ replay }) => replay?.replayId === replayId && replay.status === 'running',
    );
    if (!open) return;
    await delay(POLL_MS);
  }
}
