import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadSettings, SETTINGS } from '../../../core/config/settings.ts';
import {
  resolveCompose,
  type ComposeModel,
  type ComposeService,
} from '../../support/compose-model.ts';
import { ROOT } from '../../unit/house/source-files.ts';

const FILES = ['docker-compose.yml', 'docker-compose-airbyte.yml'] as const;

function environmentOf(service: ComposeService): Record<string, string> {
  const environment = service.environment ?? {};
  if (!Array.isArray(environment)) return environment as Record<string, string>;
  return Object.fromEntries(environment.map((entry: string) => entry.split(/=(.*)/s).slice(0, 2)));
}

function published(service: ComposeService): string[] {
  return (service.ports ?? []).map((port) => `${port.published}:${port.target}`);
}

function ours(model: ComposeModel): [string, ComposeService][] {
  return Object.entries(model.services).filter(([, service]) => service.image === 'headrace');
}

describe.each(FILES)('%s', (file) => {
  let model: ComposeModel;
  beforeAll(async () => {
    model = await resolveCompose(join(ROOT, file));
  });

  test('sets only settings that exist, to values they take', () => {
    expect(ours(model)).not.toEqual([]);
    for (const [name, service] of ours(model)) {
      const settings = Object.entries(environmentOf(service)).filter(([key]) =>
        key.startsWith('HEADRACE_'),
      );
      expect(Object.keys(SETTINGS), name).toEqual(
        expect.arrayContaining(settings.map(([key]) => key)),
      );
      expect(() => loadSettings(Object.fromEntries(settings)), name).not.toThrow();
    }
  });

  test('checks the health of every server that stays', () => {
    const unchecked = Object.entries(model.services)
      .filter(([, service]) => service.healthcheck === undefined)
      .map(([name]) => name);
    expect(unchecked.filter((name) => name !== 'minio-bucket')).toEqual([]);
  });

  test('waits for health wherever one service needs another', () => {
    const conditions = Object.values(model.services)
      .flatMap((service) => Object.values(service.depends_on ?? {}))
      .map((dependency) => dependency.condition);
    expect(new Set(conditions)).toEqual(new Set(['service_healthy']));
  });

  test('publishes on this machine only, and no port twice', () => {
    const ports = Object.values(model.services).flatMap((service) => service.ports ?? []);
    expect(new Set(ports.map((port) => port.host_ip))).toEqual(new Set(['127.0.0.1']));
    const numbers = ports.map((port) => port.published);
    expect(numbers.length).toBe(new Set(numbers).size);
  });

  test('keeps the data of every server in a volume of its own', () => {
    const sources = Object.values(model.services)
      .flatMap((service) => service.volumes ?? [])
      .map((volume) => volume.source);
    expect(sources.toSorted()).toEqual(Object.keys(model.volumes).toSorted());
  });

  test('builds an image from a Dockerfile that is there', () => {
    for (const [, service] of ours(model)) {
      expect(existsSync(join(service.build!.context, service.build!.dockerfile))).toBe(true);
    }
  });
});

describe('docker-compose.yml', () => {
  test('has one of everything that can be tried', async () => {
    const model = await resolveCompose(join(ROOT, 'docker-compose.yml'));
    const expected = ['kafka', 'postgres-source', 'postgres-target', 'minio', 'minio-bucket'];
    expect(Object.keys(model.services)).toEqual(
      expect.arrayContaining([...expected, 'mysql', 'mongodb', 'headrace', 'store']),
    );
    expect(published(model.services['headrace']!)).toEqual(['8001:8001']);
    expect(model.services['headrace']!.command).toEqual(['up']);
  });

  test('moves a published port by its variable, also in what Kafka tells its clients', () => {
    const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
    const { services } = parse(text) as { services: Record<string, { ports?: string[] }> };
    const ports = Object.values(services).flatMap((service) => service.ports ?? []);
    expect(ports.filter((port) => !/^127\.0\.0\.1:\$\{\w+_PORT:-\d+\}:\d+$/.test(port))).toEqual(
      [],
    );
    const variables = ports.map((port) => /\$\{(\w+):/.exec(port)?.[1]);
    expect(variables.length).toBe(new Set(variables).size);
    expect(text).toContain('HOST://localhost:${KAFKA_PORT:-9094}');
  });
});

describe('docker-compose-airbyte.yml', () => {
  test('has the services and ports of an Airbyte deployment', async () => {
    const { services } = await resolveCompose(join(ROOT, 'docker-compose-airbyte.yml'));
    const ports = Object.fromEntries(
      Object.entries(services).map(([name, service]) => [name, published(service)]),
    );
    expect(ports).toEqual({
      'airbyte-webapp': ['8000:8000'],
      'airbyte-server': ['8001:8001'],
      'airbyte-worker': [],
      'airbyte-capture': [],
      'airbyte-temporal': [],
      'airbyte-alerts': [],
      'airbyte-db': ['5432:5432'],
      kafka: ['9094:9094'],
    });
    const roles = ours({ name: '', services, volumes: {} }).map(([, service]) => service.command);
    expect(roles.map((role) => role?.join()).toSorted((a, b) => (a! < b! ? -1 : 1))).toEqual([
      'alerts',
      'api',
      'api',
      'scheduler',
      'sink',
      'source',
    ]);
  });
});
