import { Command } from 'commander';
import { toPipelineError, type PipelineError } from '../core/errors/pipeline-error.ts';
import { addConfigFileCommands } from './cli/apply.ts';
import { addConfigCommand } from './cli/config.ts';
import { addConnectorCommands } from './cli/connector.ts';
import { addReplayCommand } from './cli/replay.ts';
import { addRoleCommands } from './cli/roles.ts';
import { addStackCommand } from './cli/stack.ts';
import { addTopicsCommand } from './cli/topics.ts';
import { addVerifyCommand } from './cli/verify.ts';

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

try {
  await program().parseAsync();
} catch (thrown) {
  const error = toPipelineError(thrown);
  explain(error);
  process.exit(error.code.startsWith('CFG_INVALID_SETTING') ? EXIT_BAD_SETTING : 1);
}
