import { copyFileSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { cacheFolder } from '../../../deploy/local/cache.ts';
import { runProgram, runScript } from '../../support/client-program.ts';
import { clientEnvironment, NO_NETWORK } from '../../support/python.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../../support/rig.ts';

const TOKEN = 'a-token-for-real-clients-0123456789';
const INSTALL_MS = 600_000;

let rig: Rig;
let connectionId: string;
let restingId: string;
let rows = 0;

beforeAll(async () => {
  rig = await startRig({ environment: { HEADRACE_API_TOKEN: TOKEN } });
  await query(rig.source, 'create table orders (id int primary key, note text)');
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  const resting = { name: 'resting', status: 'inactive', prefix: 'resting_' };
  restingId = await createConnection(rig, sourceId, destinationId, () => 'append');
  await rig.api.quiet('connections/update', { connectionId: restingId, ...resting });
}, INSTALL_MS);

afterAll(() => rig[Symbol.asyncDispose]());

function script(name: string): URL {
  return new URL(`clients/${name}.py`, import.meta.url);
}

/** What the client waits for is real: a row written before its sync is there after it. */
async function delivers<T>(client: () => Promise<T>): Promise<T> {
  rows += 1;
  await query(rig.source, `insert into orders values (${rows}, 'written before the sync')`);
  const seen = await client();
  expect(await query(rig.target, 'select id from public.orders order by id')).toEqual(
    Array.from({ length: rows }, (_, i) => ({ id: i + 1 })),
  );
  return seen;
}

/** Built of its source, which no package registry has: docs/api.md tells how. */
const TERRAFORM_PROVIDER = join(cacheFolder(), 'terraform');

describe.skipIf(!existsSync(join(TERRAFORM_PROVIDER, 'terraform-provider-airbyte')))(
  "terraform with Airbyte's provider built in the cache folder",
  () => {
    it('CT-26 CT-27 makes, plans without a difference, changes, makes anew, syncs, destroys', async () => {
      const folder = mkdtempSync(join(rig.folder, 'terraform-'));
      copyFileSync(new URL('clients/main.tf', import.meta.url), join(folder, 'main.tf'));
      const overrides = `dev_overrides { "airbytehq/airbyte" = "${TERRAFORM_PROVIDER}" }`;
      const rules = join(folder, 'terraform.rc');
      writeFileSync(rules, `provider_installation {\n  ${overrides}\n  direct {}\n}\n`);
      const api = `http://127.0.0.1:${rig.apiPort}`;
      const terraform = (prefix: string, ...words: string[]): Promise<string> =>
        runProgram('terraform', [...words, '-no-color', '-input=false'], {
          cwd: folder,
          environment: {
            TF_CLI_CONFIG_FILE: rules,
            CHECKPOINT_DISABLE: '1',
            TF_VAR_api: api,
            TF_VAR_token: TOKEN,
            TF_VAR_workspace: DEFAULT_WORKSPACE_ID,
            TF_VAR_source_port: String(rig.source.port),
            TF_VAR_target_port: String(rig.target.port),
            TF_VAR_prefix: prefix,
          },
        });
      // With this flag a plan that would change anything ends with 2.
      const unchanged = (prefix: string) => terraform(prefix, 'plan', '-detailed-exitcode');
      const apply = async (prefix: string): Promise<string> => {
        const said = await terraform(prefix, 'apply', '-auto-approve');
        await unchanged(prefix);
        return /Outputs:\s+connection = "(.*)"\s*$/.exec(said)?.[1] ?? '';
      };
      const made = await apply('tf_');
      expect(await apply('tf2_')).toBe(made);
      await rig.api.quiet('connections/delete', { connectionId: made });
      const again = await apply('tf2_');
      expect(again).not.toBe(made);
      expect((await sync(rig, again)).job.status).toBe('succeeded');
      await terraform('tf2_', 'destroy', '-auto-approve');
      const { status } = await rig.api.quiet<{ status: string }>('connections/get', {
        connectionId: again,
      });
      expect(status).toBe('deprecated');
    }, 300_000);
  },
);

/** Real packages, as their users run them, against the whole product. */
describe.skipIf(NO_NETWORK)('real clients sync to the end', () => {
  const url = (): string => `http://127.0.0.1:${rig.apiPort}`;

  it(
    'CT-01 CT-02 CT-03 CT-04 CT-06 prefect-airbyte: its task, its block',
    async () => {
      const bin = await clientEnvironment('prefect');
      const home = mkdtempSync(join(rig.folder, 'prefect-'));
      const parameters = [url(), TOKEN, connectionId, restingId];
      const environment = { PREFECT_HOME: home, PREFECT_LOGGING_LEVEL: 'ERROR' };
      expect(
        await delivers(() => runScript(bin, script('by-prefect'), parameters, environment)),
      ).toEqual({ task: ['active', 'succeeded'], block: 'succeeded', resting: 'inactive' });
    },
    INSTALL_MS,
  );

  it(
    'CT-20 Airflow: operator, sensor and hook, without a scheduler',
    async () => {
      const bin = await clientEnvironment('airflow');
      const connection = {
        conn_type: 'airbyte',
        host: `${url()}/api/public/v1/`,
        login: 'airflow',
        password: TOKEN,
      };
      const environment = {
        AIRFLOW_HOME: mkdtempSync(join(rig.folder, 'airflow-')),
        AIRFLOW_CONN_AIRBYTE_DEFAULT: JSON.stringify(connection),
      };
      expect(
        await delivers(() => runScript(bin, script('by-airflow'), [connectionId], environment)),
      ).toEqual({
        health: true,
        operator: 'succeeded',
        sensed: true,
        cancelled: expect.stringMatching(/cancelled|succeeded/) as string,
      });
    },
    INSTALL_MS,
  );

  it(
    'CT-07 CT-14 CT-15 CT-16 dagster: both of its resources',
    async () => {
      const bin = await clientEnvironment('dagster');
      const parameters = [url(), TOKEN, DEFAULT_WORKSPACE_ID, connectionId];
      expect(await delivers(() => runScript(bin, script('by-dagster'), parameters))).toEqual({
        job: 'succeeded',
        attempts: 1,
        streams: ['orders'],
        connections: [true],
        tables: ['orders'],
        cancelled: expect.stringMatching(/cancelled|succeeded/) as string,
      });
    },
    INSTALL_MS,
  );
});
