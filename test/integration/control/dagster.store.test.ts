import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { pythonEnvironment } from '../../support/python.ts';
import { apiContext, streamRequest } from './api-fixture.ts';
import { StagedConnection } from './scheduler-stage.ts';

const TOKEN = 'a-token-for-python-clients-0123456789';
const on = new StagedConnection();

it('CT-07 CT-14 CT-15 CT-16 dagster, the real package, syncs to the end and loads its workspace', async (test) => {
  const bin = await pythonEnvironment(['dagster-airbyte==0.29.27']);
  if (bin === null) return test.skip('Python or the package cannot be had here');
  await using api = await apiContext({ store: on.stage.store, token: TOKEN });
  const syncCatalog = { streams: [streamRequest('orders')] };
  const update = { connectionId: on.ids.connectionId, syncCatalog };
  await api.call('connections/update', update, { authorization: `Bearer ${TOKEN}` });
  await on.sourceSays({ capturedThrough: '0A' });
  await on.sinkSays({});
  // The reports are a minute old by the time that Python has loaded: workers repeat theirs.
  const reports = setInterval(() => {
    void on.sourceSays({ capturedThrough: '0A' });
    void on.sinkSays({});
  }, 1000);
  on.stage.startScheduler();
  try {
    const script = new URL('dagster-client.py', import.meta.url).pathname;
    const parameters = [script, api.url, TOKEN, DEFAULT_WORKSPACE_ID, on.ids.connectionId];
    const child = spawn(join(bin, 'python'), parameters);
    const [output, errors, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit') as Promise<[number | null]>,
    ]);
    expect(code, errors).toBe(0);
    expect(JSON.parse(output.trimEnd().split('\n').at(-1) ?? '')).toEqual({
      job: 'succeeded',
      attempts: 1,
      streams: ['orders'],
      connections: [true],
      tables: ['orders'],
      cancelled: expect.stringMatching(/cancelled|succeeded/) as string,
    });
  } finally {
    clearInterval(reports);
  }
}, 600_000);
