import type { Command } from 'commander';
import { loadSettings } from '../../core/config/settings.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { openStore } from '../../core/store/store.ts';

/** `headrace reseal`: the last step of changing HEADRACE_SECRET_KEY, or of giving a store its first. */
export function addResealCommand(program: Command): void {
  program
    .command('reseal')
    .description('encrypt the secrets in the store with the present HEADRACE_SECRET_KEY')
    .action(async () => {
      const settings = loadSettings(process.env);
      if (settings.secretKey === null) {
        throw new PipelineError('CFG_SECRET_KEY', 'HEADRACE_SECRET_KEY is not set');
      }
      const store = await openStore(settings);
      try {
        const rows = await store.reseal();
        process.stdout.write(`${rows} of the store's secrets were sealed anew\n`);
      } finally {
        await store.close();
      }
    });
}
