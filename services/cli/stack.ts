import type { Command } from 'commander';
import { loadSettings } from '../../core/config/settings.ts';
import {
  DEFAULT_STACK,
  STACK_SERVER_NAMES,
  stackDown,
  stackStatus,
  stackUp,
  type StackServer,
} from '../../deploy/local/stack.ts';

/** `headrace stack`: real servers as plain processes on this machine. */
export function addStackCommand(program: Command): void {
  const stack = program.command('stack').description('real servers as plain processes');
  stack
    .command('up')
    .description(`start servers: ${STACK_SERVER_NAMES.join(', ')} (${DEFAULT_STACK.join(', ')})`)
    .argument('[servers...]')
    .action(async (names: string[]) => {
      const { home } = loadSettings(process.env);
      const servers = await stackUp(names, { home, report: (line) => say(line) });
      for (const server of servers) say(describe(server));
    });
  stack
    .command('status')
    .description('what runs, and where')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) => {
      const servers = stackStatus(loadSettings(process.env).home);
      if (options.json === true) say(JSON.stringify(servers, null, 2));
      else if (servers.length === 0) say('nothing was started yet: headrace stack up');
      else for (const server of servers) say(describe(server));
    });
  stack
    .command('down')
    .description('stop the servers; their data stay')
    .action(async () => stackDown(loadSettings(process.env).home));
}

function describe(server: StackServer): string {
  const state = server.running ? `pid ${server.pid}` : 'stopped';
  return `${server.name.padEnd(9)} ${state.padEnd(12)} ${server.url}  ${server.folder}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
