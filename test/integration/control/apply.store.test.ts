import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { carryOut, describePlan } from '../../../services/cli/apply.ts';
import { parseConfigFile } from '../../../services/cli/config-file.ts';
import { planApply, type Plan } from '../../../services/cli/config-plan.ts';
import { exported, readDeployed } from '../../../services/cli/deployed-config.ts';
import { RemoteApi } from '../../../services/cli/remote-api.ts';
import { apiContext, type ApiFixture } from './api-fixture.ts';

const TOKEN = 'a-token-for-headrace-apply-0123456789';

let api: ApiFixture;
let remote: RemoteApi;
beforeAll(async () => {
  api = await apiContext({ token: TOKEN });
  remote = new RemoteApi(api.url, TOKEN);
}, 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

const FILE = `
sources:
  - name: shop
    definition: Fake source
    configuration: { host: db, port: 5432, password: canary-1 }
destinations:
  - name: lake
    definition: fake destination
    configuration: { host: lake, port: 1, password: '\${env:CONNECTOR_SECRET_LAKE}' }
connections:
  - name: shop to lake
    source: shop
    destination: lake
    scheduleType: cron
    scheduleData: { cron: { cronExpression: 0 2 * * *, cronTimeZone: UTC } }
    prefix: p_
    streams:
      - { name: orders, namespace: public, syncMode: incremental, destinationSyncMode: append_dedup }
`;

async function plan(text: string): Promise<Plan> {
  return planApply(remote, await readDeployed(remote), parseConfigFile(text));
}

it('creates, says what differs by name, changes that alone, and then nothing', async () => {
  const first = await plan(FILE);
  expect(describePlan(first)).toBe(
    '+ source shop\n+ destination lake\n+ connection shop to lake\n3 to change, 0 unchanged\n',
  );
  await carryOut(first);
  expect(describePlan(await plan(FILE))).toBe('0 to change, 3 unchanged\n');

  const changed = FILE.replace('canary-1', 'canary-2')
    .replace('prefix: p_', 'prefix: q_')
    .replace('append_dedup', 'append');
  const second = await plan(changed);
  expect(describePlan(second)).toBe(
    '~ source shop: connectionConfiguration.password\n' +
      '~ connection shop to lake: prefix, streams\n2 to change, 1 unchanged\n',
  );
  expect(describePlan(await plan(changed))).toBe(describePlan(second));
  await carryOut(second);
  expect(describePlan(await plan(changed))).toBe('0 to change, 3 unchanged\n');
  const [source] = await api.store.actors.list(
    'source',
    (await api.store.workspaces.list())[0]?.id ?? '',
  );
  expect(source?.configuration['password']).toBe('canary-2');
});

it('exports what applies without a change, without a secret', async () => {
  const text = stringify(exported(await readDeployed(remote)));
  expect(text).not.toContain('canary');
  expect(parse(text)).toMatchObject({
    sources: [{ name: 'shop', configuration: { password: '**********' } }],
    destinations: [{ configuration: { password: '${env:CONNECTOR_SECRET_LAKE}' } }],
    connections: [{ source: 'shop', destination: 'lake', streams: [{ name: 'orders' }] }],
  });
  expect(describePlan(await plan(text))).toBe('0 to change, 3 unchanged\n');
  const fewer = { ...(parse(text) as object), connections: [] };
  expect(describePlan(await plan(stringify(fewer)))).toContain(
    'connection shop to lake is not in the file and stays as it is',
  );
});

it('refuses a file that cannot be meant, naming the place', async () => {
  for (const [text, names] of [
    ['sources: [', 'YAML'],
    ['source: []', 'additional'],
    ['sources: [{ name: x, definition: y }]', 'sources.0.configuration is required'],
    ['connections: [{ name: c, source: none, destination: lake }]', 'the source none'],
    [FILE.replace('- name: lake', '- name: lake\n    nmae: x'), 'destinations.0'],
    [`${FILE}\n  - { name: shop to lake, source: shop, destination: lake }`, 'twice'],
    [FILE.replace('Fake source', '11111111-2222-4333-8444-555555555555'), 'another definition'],
  ] as const) {
    await expect(plan(text), text).rejects.toMatchObject({
      code: 'CFG_INVALID_FILE',
      message: expect.stringContaining(names) as string,
    });
  }
  await expect(readDeployed(new RemoteApi(api.url, 'wrong'))).rejects.toMatchObject({
    code: 'API_UNAUTHORIZED',
  });
  await expect(readDeployed(new RemoteApi('http://127.0.0.1:1', null))).rejects.toMatchObject({
    code: 'CFG_ADDRESS_UNREACHABLE',
  });
});

it('operations of a connection are made, changed and taken away with it', async () => {
  const operations = (url: string, ...more: string[]): string =>
    [
      '    operations:',
      '      - name: tell',
      `        operatorConfiguration: { operatorType: webhook, webhook: { executionUrl: '${url}' } }`,
      ...more,
      '',
    ].join('\n');
  const dbt = [
    '      - name: models',
    '        operatorConfiguration: { operatorType: dbt, dbt: { gitRepoUrl: shop } }',
  ];
  const named = FILE.replaceAll('shop to lake', 'with operations').replace(
    'prefix: p_',
    'prefix: o_',
  );
  const first = named + operations('https://hooks.example/canary-hook');
  await expect(plan(named + operations('**********'))).rejects.toThrow(
    'operation tell of connection with operations needs its executionUrl',
  );
  await carryOut(await plan(first));
  const settled = async (text: string) =>
    expect(describePlan(await plan(text))).not.toMatch(/^[+~]/m);
  await settled(first);
  const text = stringify(exported(await readDeployed(remote)));
  expect(text).not.toContain('canary');
  await settled(text);
  for (const next of [
    named + operations('https://hooks.example/another'),
    named + operations('https://hooks.example/another', ...dbt),
    named + operations('https://hooks.example/another'),
    `${named}    operations: []\n`,
  ]) {
    const changes = await plan(next);
    expect(describePlan(changes)).toContain('~ connection with operations: operations\n');
    await carryOut(changes);
    await settled(next);
  }
});
