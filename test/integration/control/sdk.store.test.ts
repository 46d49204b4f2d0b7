import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { connectors } from '../../../connectors/registry.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { pythonEnvironment } from '../../support/python.ts';
import { apiContext } from './api-fixture.ts';

const TOKEN = 'a-token-for-python-clients-0123456789';

it("CT-20 CT-21 CT-22 Airbyte's SDK does its rounds, each answer checked by its models", async (test) => {
  const bin = await pythonEnvironment(['airbyte-api==1.0.1']);
  if (bin === null) return test.skip('Python or the package cannot be had here');
  await using api = await apiContext({ token: TOKEN, connectors });
  const script = new URL('airbyte-sdk.py', import.meta.url).pathname;
  const child = spawn(join(bin, 'python'), [script, api.url, TOKEN, DEFAULT_WORKSPACE_ID]);
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  expect(errors).toBe('');
  expect(code).toBe(0);
  expect(output).not.toContain('canary');
  expect(JSON.parse(output)).toEqual({
    health: 200,
    workspaces: 1,
    types: ['postgres', 'postgres'],
    connection: ['by the SDK', 'active', 'manual'],
    prefix: 'p_',
    job: 'pending',
    cancelled: [true, 'cancelled'],
    jobs: 1,
    sources: 1,
    destinations: 1,
    connections: 1,
  });
}, 240_000);
