import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tlsOf } from '../../../services/cli/kafka.ts';
import { KafkaClient } from '../../../topics/kafka-client.ts';
import { kafkaContext, type ServerContext } from '../../support/contexts.ts';
import { roundTrip } from '../../support/topic-round-trip.ts';

let folder: string;
let broker: ServerContext;
const file = (name: string): string => join(folder, name);

/** A certificate that signs itself, for the broker or for a client. */
function certificate(name: string): void {
  const made = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', ...made],
    ],
    { stdio: 'ignore' },
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'headrace-kafka-tls-'));
  for (const name of ['broker', 'client', 'stranger']) certificate(name);
  const pem = (...names: string[]): string =>
    names.map((name) => readFileSync(file(name), 'utf8')).join('');
  writeFileSync(file('broker.pem'), pem('broker.key', 'broker.crt'));
  writeFileSync(file('trusted.pem'), pem('broker.crt', 'client.crt'));
  broker = await kafkaContext({
    settings: {
      'listener.security.protocol.map': 'PLAINTEXT:SSL,CONTROLLER:PLAINTEXT',
      'inter.broker.listener.name': 'PLAINTEXT',
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': file('broker.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': file('trusted.pem'),
      'ssl.client.auth': 'required',
    },
  });
}, 120_000);

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

function client(files: { ca?: string; own?: string } | null): KafkaClient {
  const { ca, own } = files ?? {};
  const tls = tlsOf({
    kafkaTlsCaFile: ca === undefined ? null : file(`${ca}.crt`),
    kafkaTlsCertificateFile: own === undefined ? null : file(`${own}.crt`),
    kafkaTlsKeyFile: own === undefined ? null : file(`${own}.key`),
  });
  return new KafkaClient({
    kafka: { brokers: [broker.url], tls: files === null ? null : tls, sasl: null },
    topicPrefix: 'test',
    schemaRegistryUrl: null,
  });
}

test('TLS both ways: writes in transactions and reads', async () => {
  const kafka = client({ ca: 'broker', own: 'client' });
  expect(await roundTrip(kafka, 'secret')).toEqual(['v']);
  await kafka.close();
});

test.each([
  ['a broker that is not trusted', { ca: 'stranger', own: 'client' }],
  ['a client that the broker does not know', { ca: 'broker', own: 'stranger' }],
  ['no TLS', null],
])('%s is refused with a code', async (_, files) => {
  const kafka = client(files);
  await expect(kafka.transactionWriter('secret').open({ timeoutMs: 60_000 })).rejects.toMatchObject(
    { code: expect.stringMatching(/^KAFKA_(UNAVAILABLE|AUTH)$/) },
  );
  await kafka.close();
});

test('a file that cannot be read is a setting that is wrong', () => {
  const files = { kafkaTlsCertificateFile: null, kafkaTlsKeyFile: null };
  expect(() => tlsOf({ ...files, kafkaTlsCaFile: file('nothing.pem') })).toThrow(
    /HEADRACE_KAFKA_TLS_CA_FILE: the file .* cannot be read \(ENOENT\)/,
  );
});
