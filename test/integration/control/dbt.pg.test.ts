import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDbt } from '../../../services/scheduler/dbt.ts';
import { postgresContext } from '../../support/contexts.ts';
import { NO_NETWORK, pythonEnvironment } from '../../support/python.ts';
import { query } from '../../support/rig.ts';

/** The guide's model: a view over the raw documents that a sync without normalization leaves. */
const MODEL = `
select
  _airbyte_data->>'id' as customer_id,
  _airbyte_data->>'name' as customer_name,
  _airbyte_data->'contact'->>'email' as email,
  _airbyte_data->'contact'->>'phone' as phone,
  _airbyte_emitted_at
from {{ source('airbyte_raw', '_airbyte_raw_customers') }}
`;

const FILES: Readonly<Record<string, string>> = {
  'dbt_project.yml': `name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\n`,
  'profiles.yml': `shop:
  target: warehouse
  outputs:
    warehouse:
      type: postgres
      host: "{{ env_var('DBT_HOST') }}"
      port: "{{ env_var('DBT_PORT') | int }}"
      user: "{{ env_var('DBT_USER') }}"
      password: "{{ env_var('DBT_ENV_SECRET_PASSWORD') }}"
      dbname: "{{ env_var('DBT_DBNAME') }}"
      schema: "{{ env_var('DBT_SCHEMA') }}"
      threads: 1
`,
  'models/sources.yml': `version: 2
sources:
  - name: airbyte_raw
    schema: public
    tables:
      - name: _airbyte_raw_customers
`,
  'models/stg_customers.sql': MODEL,
};

test.skipIf(NO_NETWORK)(
  "the guide's model runs on the raw table with dbt itself",
  async () => {
    const bin = await pythonEnvironment(['dbt-core==1.9.4', 'dbt-postgres==1.9.0']);
    await using server = await postgresContext();
    const projects = mkdtempSync(join(tmpdir(), 'headrace-dbt-'));
    try {
      mkdirSync(join(projects, 'shop', 'models'), { recursive: true });
      for (const [name, content] of Object.entries(FILES)) {
        writeFileSync(join(projects, 'shop', name), content);
      }
      await query(
        server,
        `create table _airbyte_raw_customers (_airbyte_ab_id uuid primary key,
         _airbyte_emitted_at timestamptz not null, _airbyte_data jsonb not null)`,
      );
      await query(
        server,
        `insert into _airbyte_raw_customers values (gen_random_uuid(), now(), $1)`,
        [{ id: 1, name: 'Acme Corp', contact: { email: 'info@acme.com', phone: '+1234567890' } }],
      );
      const destination = {
        host: server.host,
        port: server.port,
        username: 'postgres',
        password: 'not-for-the-log',
        database: 'postgres',
        schema: 'public',
      };
      const lines: string[] = [];
      await runDbt({ gitRepoUrl: 'shop', dbtArguments: 'run' }, destination, {
        settings: { command: join(bin, 'dbt'), projects },
        signal: new AbortController().signal,
        log: (line) => Promise.resolve(void lines.push(line)),
      });
      expect(lines.join('\n')).toContain('PASS=1');
      expect(lines.join('\n')).not.toContain('not-for-the-log');
      expect(
        await query(server, 'select customer_id, customer_name, email, phone from stg_customers'),
      ).toEqual([
        {
          customer_id: '1',
          customer_name: 'Acme Corp',
          email: 'info@acme.com',
          phone: '+1234567890',
        },
      ]);
    } finally {
      rmSync(projects, { recursive: true, force: true });
    }
  },
  300_000,
);
