import type { Command } from 'commander';
import { loadSettings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { tail, type TailStart } from '../../topics/replay/tail.ts';
import { openKafka } from './kafka.ts';

interface TailFlags {
  readonly from: string;
  readonly limit?: number;
  readonly follow?: boolean;
}

/** `headrace topics`: what is in Kafka, decoded. */
export function addTopicsCommand(program: Command): void {
  const topics = program.command('topics').description('look into the topics');
  topics
    .command('list')
    .description('topics under our prefix, with partitions and offsets')
    .action(listTopics);
  topics
    .command('tail')
    .description('records as JSON lines')
    .argument('<topic>')
    .option('--from <where>', 'beginning, end, an offset, or a time in ISO 8601', 'beginning')
    .option('--limit <n>', 'stop after so many records', Number)
    .option('--follow', 'wait for more at the end')
    .action(tailTopic);
}

async function listTopics(): Promise<void> {
  const settings = loadSettings(process.env);
  const kafka = await openKafka(settings);
  try {
    for (const topic of await kafka.admin.list(`${settings.topicPrefix}.`)) {
      const partitions = await kafka.admin.bounds(topic);
      say({ topic, partitions });
    }
  } finally {
    await kafka.close();
  }
}

async function tailTopic(topic: string, flags: TailFlags): Promise<void> {
  const from = startOf(flags.from);
  const kafka = await openKafka(loadSettings(process.env));
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    const records = tail({
      admin: kafka.admin,
      reader: kafka.topicReader(),
      registry: kafka.registry,
      topic,
      from,
      ...(flags.limit === undefined ? {} : { limit: flags.limit }),
      follow: flags.follow === true,
      signal: stop.signal,
    });
    for await (const record of records) say(record);
  } finally {
    await kafka.close();
  }
}

function startOf(from: string): TailStart {
  if (from === 'beginning' || from === 'end') return from;
  if (/^\d+$/.test(from)) return { offset: Number(from) };
  const timeMs = Date.parse(from);
  if (Number.isNaN(timeMs)) {
    throw new PipelineError(
      'CFG_INVALID_SETTING',
      `--from must be beginning, end, an offset or a time in ISO 8601, not ${from}`,
    );
  }
  return { timeMs };
}

function say(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
