import type { Command } from 'commander';
import { describeSettings, loadSettings } from '../../core/config/settings.ts';

/** `headrace config`: the effective settings, secrets masked. Needs no server. */
export function addConfigCommand(program: Command): void {
  program
    .command('config')
    .description('print the effective settings, secrets masked')
    .option('--json', 'as one JSON object')
    .action((options: { json?: boolean }) => {
      const described = describeSettings(loadSettings(process.env));
      if (options.json === true) {
        const object = Object.fromEntries(described.map(({ name, value }) => [name, value]));
        process.stdout.write(`${JSON.stringify(object, null, 2)}\n`);
        return;
      }
      for (const { name, value, description } of described) {
        process.stdout.write(`${name}=${value ?? ''}\n    ${description}\n`);
      }
    });
}
