import type { Command } from 'commander';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { loadSettings, type Settings } from '../../core/config/settings.ts';
import { postToApi } from './api-call.ts';
import type { StreamRefusal, StreamVerdict } from '../verify/verify-connection.ts';

/** Something differs; something could not be compared or did not rest. */
const EXIT_DIFFERENT = 1;
const EXIT_UNDECIDED = 2;

type Line = StreamVerdict | StreamRefusal;

/** `headrace verify`: asks the API that runs beside it, which knows the configurations. */
export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('compare a destination with its source while both go on')
    .argument('<connection>', 'its id')
    .option('--json', 'one JSON line per stream')
    .action(async (connectionId: string, options: { json?: boolean }) => {
      let exit = 0;
      for await (const text of await ask(loadSettings(process.env), connectionId)) {
        const line = JSON.parse(text) as Line;
        exit = worse(exit, exitOf(line));
        say(options.json === true ? text : describe(line));
      }
      process.exitCode = exit;
    });
}

async function* ask(settings: Settings, connectionId: string): AsyncGenerator<string> {
  const response = await postToApi(settings, 'connections/verify', { connectionId });
  yield* createInterface({ input: Readable.fromWeb(response.body as never) });
}

function exitOf(line: Line): number {
  if ('error' in line) return EXIT_UNDECIDED;
  if (line.missing.length + line.extra.length + line.different.length > 0) return EXIT_DIFFERENT;
  return line.unsettled.length > 0 ? EXIT_UNDECIDED : 0;
}

/** A difference that was found outweighs what could not be found out. */
function worse(exit: number, other: number): number {
  return exit === EXIT_DIFFERENT || other === EXIT_DIFFERENT
    ? EXIT_DIFFERENT
    : Math.max(exit, other);
}

function describe(line: Line): string {
  if ('error' in line) {
    return `${line.stream}: not compared: ${line.error.code}: ${line.error.message}\n  ${line.error.fix}`;
  }
  const { stream, rows, ranges, differingRanges, reread, repeatedKeys = 0 } = line;
  const figures = `${rows} rows in ${ranges} ranges, ${differingRanges} of them looked into, ${reread} rows read again`;
  const kinds = ['missing', 'extra', 'different', 'unsettled'] as const;
  const found = kinds.flatMap((kind) =>
    line[kind].map((key) => `${kind} ${stream} ${keyText(key)}`),
  );
  const verdict =
    exitOf(line) === 0 ? 'equal' : exitOf(line) === EXIT_DIFFERENT ? 'DIFFERENT' : 'not settled';
  const more = line.more ? [`${stream}: more keys differ than are listed`] : [];
  const repeated = repeatedKeys === 0 ? '' : `, ${repeatedKeys} rows repeat the key of another one`;
  return [...found, ...more, `${stream}: ${verdict}: ${figures}${repeated}`].join('\n');
}

function keyText(key: readonly string[]): string {
  return JSON.stringify(key.length === 1 ? key[0] : key);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
