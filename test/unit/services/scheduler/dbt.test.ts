import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runDbt } from '../../../../services/scheduler/dbt.ts';

it('gives the profile the secret itself where the destination refers to one', async () => {
  const projects = mkdtempSync(join(tmpdir(), 'headrace-dbt-'));
  const command = join(projects, 'dbt');
  const lines: string[] = [];
  mkdirSync(join(projects, 'shop'));
  writeFileSync(command, '#!/bin/sh\necho "$DBT_USER $DBT_ENV_SECRET_PASSWORD"\n');
  chmodSync(command, 0o755);
  process.env['CONNECTOR_SECRET_DBT'] = 'resolved';
  try {
    await runDbt(
      { gitRepoUrl: 'shop' },
      { username: 'u', password: '${env:CONNECTOR_SECRET_DBT}' },
      {
        settings: { command, projects },
        signal: new AbortController().signal,
        log: (line) => Promise.resolve(void lines.push(line)),
      },
    );
  } finally {
    delete process.env['CONNECTOR_SECRET_DBT'];
    rmSync(projects, { recursive: true });
  }
  expect(lines).toEqual(['u resolved']);
});
