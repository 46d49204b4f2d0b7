import { describe, expect, it } from 'vitest';
import { connectors } from '../../../connectors/registry.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { runScript } from '../../support/client-program.ts';
import { clientEnvironment, NO_NETWORK } from '../../support/python.ts';
import { apiContext } from './api-fixture.ts';

const TOKEN = 'a-token-for-python-clients-0123456789';

describe.skipIf(NO_NETWORK)('airbyte-api', () => {
  it("CT-20 CT-21 CT-22 Airbyte's SDK does its rounds, each answer checked by its models", async () => {
    const bin = await clientEnvironment('airflow');
    await using api = await apiContext({ token: TOKEN, connectors });
    const script = new URL('clients/by-sdk.py', import.meta.url);
    const seen = await runScript(bin, script, [api.url, TOKEN, DEFAULT_WORKSPACE_ID]);
    expect(JSON.stringify(seen)).not.toContain('canary');
    expect(seen).toEqual({
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
  }, 600_000);
});
