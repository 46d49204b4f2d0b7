import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { environmentVariable } from '../../core/config/environment-variable.ts';
import { loadSettings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { importAirbyte } from './airbyte-import.ts';
import { parseConfigFile } from './config-file.ts';
import { planApply, type Change, type Plan } from './config-plan.ts';
import { exported, readDeployed } from './deployed-config.ts';
import { RemoteApi } from './remote-api.ts';

/** `headrace apply` and `headrace export`: sources, destinations and connections as a file, through
 * the API of the Headrace that runs. */
export function addConfigFileCommands(program: Command): void {
  program
    .command('apply')
    .description('make what is deployed as a file has it; prints the difference first')
    .requiredOption('-f, --file <file>', 'YAML with sources, destinations and connections')
    .option('--dry-run', 'print the difference and change nothing')
    .option('--api <url>', 'address of the API; the one of the settings when not given')
    .action(async (options: { file: string; dryRun?: boolean; api?: string }) => {
      const api = remoteApi(options.api);
      const file = parseConfigFile(await readText(options.file));
      const plan = await planApply(api, await readDeployed(api), file);
      process.stdout.write(describePlan(plan));
      if (options.dryRun === true) return;
      await carryOut(plan);
    });
  program
    .command('export')
    .description('print what is deployed as a file for apply; secrets are masked')
    .option('--api <url>', 'address of the API; the one of the settings when not given')
    .action(async (options: { api?: string }) => {
      process.stdout.write(stringify(exported(await readDeployed(remoteApi(options.api)))));
    });
  program
    .command('import')
    .description("print what Airbyte's octavia or API wrote as a file for apply")
    .argument('<paths...>', "octavia's folder, or answers of its lists as JSON")
    .action(async (paths: string[]) => {
      const { secretEnvPrefix: secretPrefix } = loadSettings(process.env);
      const { file, notes } = await importAirbyte(paths, {
        valueOf: environmentVariable,
        secretPrefix,
      });
      process.stdout.write(stringify(file));
      for (const note of notes) process.stderr.write(`${note}\n`);
    });
}

/** One after the other; an error leaves what was done, and the next apply goes on from there. */
export async function carryOut(plan: Plan): Promise<void> {
  const created = new Map<string, string>();
  for (const change of plan.changes) await change.run(created);
}

export function describePlan({ changes, unchanged, others }: Plan): string {
  const lines = [
    ...changes.map(describeChange),
    ...others.map((other) => `  ${other} is not in the file and stays as it is`),
    `${changes.length} to change, ${unchanged} unchanged`,
  ];
  return `${lines.join('\n')}\n`;
}

function describeChange({ verb, what, fields }: Change): string {
  return verb === 'create' ? `+ ${what}` : `~ ${what}: ${fields.join(', ')}`;
}

function remoteApi(address: string | undefined): RemoteApi {
  const { apiHost, apiPort, apiToken } = loadSettings(process.env);
  const host = apiHost.includes(':') ? `[${apiHost}]` : apiHost;
  return new RemoteApi(address ?? `http://${host}:${apiPort}`, apiToken);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new PipelineError('CFG_INVALID_FILE', `${file} cannot be read`, { cause });
  }
}
