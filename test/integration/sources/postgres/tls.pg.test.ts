import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  readFileSync,
  realpathSync,
  statSync,
  appendFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/postgres/source.ts';
import { postgresContext } from '../../../support/contexts.ts';
import { configOf, Run, sqlClient } from './capture-harness.ts';

it('streams over TLS, verified or not, and refuses a certificate it does not trust', async () => {
  await using server = await postgresContext();
  const data = realpathSync(join(server.folder, 'data'));
  const certificate = join(data, 'server.crt');
  const key = join(data, 'server.key');
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
    ],
    { stdio: 'ignore' },
  );
  const { uid, gid } = statSync(data);
  for (const file of [certificate, key]) {
    chownSync(file, uid, gid);
    chmodSync(file, 0o600);
  }
  appendFileSync(join(data, 'postgresql.auto.conf'), `ssl = 'on'\n`);
  const sql = await sqlClient(server);
  await sql.query('SELECT pg_reload_conf()');
  await sql.query('CREATE TABLE t (id int PRIMARY KEY, pad text)');
  const ca = readFileSync(certificate, 'utf8');
  const verified = { mode: 'verify-full', ca_certificate: ca };
  const config = configOf(server, { ssl_mode: verified });
  const run = await Run.open(config, { streams: ['t'] });
  await run.caughtUp(config);
  await sql.query(`INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i`);
  await run.caughtUp(config);
  expect(run.records).toHaveLength(5000);
  const { rows } = await sql.query(
    `SELECT bool_and(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
     WHERE application_name LIKE 'headrace%'`,
  );
  expect(rows[0]?.['ssl']).toBe('t');
  await run.close();
  const checkUnder = (mode: string, extra = {}) =>
    source.check(configOf(server, { ssl_mode: { mode, ...extra } }));
  for (const mode of ['disable', 'allow', 'prefer', 'require']) {
    expect(await checkUnder(mode), mode).toMatchObject({ ok: true });
  }
  expect(await checkUnder('verify-ca', { ca_certificate: ca })).toMatchObject({ ok: true });
  expect((await checkUnder('verify-full')).message).toContain('SRC_TLS_FAILED');
  await sql.end();
});
