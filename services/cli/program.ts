import { Command } from 'commander';
import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import { addConfigFileCommands } from './apply.ts';
import { addConfigCommand } from './config.ts';
import { addConnectorCommands } from './connector.ts';
import { addReplayCommand } from './replay.ts';
import { addResealCommand } from './reseal.ts';
import { addRoleCommands } from './roles.ts';
import { addStackCommand } from './stack.ts';
import { addTopicsCommand } from './topics.ts';
import { addVerifyCommand } from './verify.ts';

/** sysexits' EX_CONFIG: a supervisor must not start the same settings again. */
const EXIT_BAD_SETTING = 78;

function program(): Command {
  const headrace = new Command('headrace')
    .description('Streaming change-data-capture pipeline on Kafka')
    .showHelpAfterError();
  addRoleCommands(headrace);
  addStackCommand(headrace);
  addTopicsCommand(headrace);
  addVerifyCommand(headrace);
  addReplayCommand(headrace);
  addResealCommand(headrace);
  addConnectorCommands(headrace);
  addConfigCommand(headrace);
  addConfigFileCommands(headrace);
  return headrace;
}

function explain(error: PipelineError): void {
  process.stderr.write(`${error.code}: ${error.message}\n  ${error.spec.fix}\n`);
  if (error.code === 'BUG_UNEXPECTED' && error.cause instanceof Error) {
    process.stderr.write(`${error.cause.stack ?? ''}\n`);
  }
}

/** Runs the command of the command line; a failure is explained and ends the process. */
export async function runProgram(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (thrown) {
    const error = toPipelineError(thrown);
    explain(error);
    process.exit(error.code.startsWith('CFG_INVALID_SETTING') ? EXIT_BAD_SETTING : 1);
  }
}
