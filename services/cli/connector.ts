import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { connectors } from '../../connectors/registry.ts';
import type { CheckResult } from '../../connectors/spi/connector.ts';

/** `headrace check` and `headrace discover`: a connector by itself, with a configuration from a file. */
export function addConnectorCommands(program: Command): void {
  program
    .command('check')
    .description('try a configuration; exit 1 when it fails, with what mends it')
    .argument('<kind>', 'source or destination')
    .argument('<connector>', 'postgres, s3 or a definition id')
    .argument('<file>', 'the connectionConfiguration as JSON')
    .action(async (kind: string, name: string, file: string) => {
      const result = await check(kind, name, await readConfig(file));
      process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
      if (!result.ok) process.exitCode = 1;
    });
  program
    .command('discover')
    .description('the streams of a source, as JSON lines')
    .argument('<connector>', 'postgres or a definition id')
    .argument('<file>', 'the connectionConfiguration as JSON')
    .action(async (name: string, file: string) => {
      const source = await connectors.sources.load(name);
      for (const stream of await source.discover(await readConfig(file))) {
        process.stdout.write(`${JSON.stringify(stream)}\n`);
      }
    });
}

async function check(
  kind: string,
  name: string,
  config: Record<string, unknown>,
): Promise<CheckResult> {
  switch (kind) {
    case 'source':
      return (await connectors.sources.load(name)).check(config);
    case 'destination':
      return (await connectors.destinations.load(name)).check(config);
    default:
      throw new PipelineError(
        'CFG_INVALID_CONNECTOR',
        `there are sources and destinations, no ${kind}`,
      );
  }
}

async function readConfig(file: string): Promise<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new PipelineError('CFG_INVALID_CONNECTOR', `${file} cannot be read as JSON`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new PipelineError('CFG_INVALID_CONNECTOR', `${file} does not hold a JSON object`);
  }
  return parsed as Record<string, unknown>;
}
