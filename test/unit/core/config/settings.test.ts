import { describe, expect, it } from 'vitest';
import { describeSettings, loadSettings, SETTINGS } from '../../../../core/config/settings.ts';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';

function failure(env: Record<string, string>): PipelineError {
  try {
    loadSettings(env);
  } catch (error) {
    return error as PipelineError;
  }
  throw new Error('loadSettings accepted it');
}

describe('loadSettings', () => {
  it('has a default that works on one machine for every setting', () => {
    const settings = loadSettings({ PATH: '/bin', TEST_ANYTHING: 'x' });
    expect(settings.apiHost).toBe('127.0.0.1');
    expect(settings.apiPort).toBe(8001);
    expect(settings.kafkaBrokers).toEqual([]);
    expect(settings.storeUrl).toBeNull();
    expect(settings.home).toMatch(/\/\.headrace$/);
    expect(Object.isFrozen(settings)).toBe(true);
    expect(Object.keys(settings)).toHaveLength(Object.keys(SETTINGS).length);
  });

  it('reads each type', () => {
    const settings = loadSettings({
      HEADRACE_KAFKA_BROKERS: 'a:1, b:2',
      HEADRACE_KAFKA_TLS: 'yes',
      HEADRACE_KAFKA_SASL_MECHANISM: 'scram-sha-256',
      HEADRACE_API_PORT: '0',
      HEADRACE_LOG_LEVEL: '',
    });
    expect(settings.kafkaBrokers).toEqual(['a:1', 'b:2']);
    expect(settings.kafkaTls).toBe(true);
    expect(settings.kafkaSaslMechanism).toBe('scram-sha-256');
    expect(settings.apiPort).toBe(0);
    expect(settings.logLevel).toBe('info');
  });

  it('names every mistake at once, a misspelt name with the nearest real one', () => {
    const error = failure({
      HEADRACE_KAFKA_BROKER: 'x:1',
      HEADRACE_API_PORT: '70000',
      HEADRACE_LOG_LEVEL: 'loud',
      HEADRACE_STORE_URL: 'mysql://root:hunter2@db/x',
    });
    expect(error).toBeInstanceOf(PipelineError);
    expect(error.code).toBe('CFG_INVALID_SETTING');
    expect(error.message.split('\n')).toHaveLength(4);
    expect(error.message).toContain('HEADRACE_KAFKA_BROKER is not a setting');
    expect(error.message).toContain('did you mean HEADRACE_KAFKA_BROKERS?');
    expect(error.message).toContain('HEADRACE_API_PORT must be a whole number from 0 to 65535');
    expect(error.message).toContain('HEADRACE_LOG_LEVEL must be one of trace');
    expect(error.message).not.toContain('hunter2');
  });
});

describe('describeSettings', () => {
  it('masks secrets and passwords within URLs, and keeps the rest (invariant 8)', () => {
    const described = describeSettings(
      loadSettings({
        HEADRACE_API_TOKEN: 'tok-1',
        HEADRACE_STORE_URL: 'postgres://me:hunter2@db:5432/x',
      }),
    );
    const text = JSON.stringify(described);
    expect(text).not.toContain('tok-1');
    expect(text).not.toContain('hunter2');
    const byName = new Map(described.map((entry) => [entry.name, entry.value]));
    expect(byName.get('HEADRACE_API_TOKEN')).toBe('**********');
    expect(byName.get('HEADRACE_STORE_URL')).toBe('postgres://me:**********@db:5432/x');
    expect(byName.get('HEADRACE_SECRET_KEY')).toBeNull();
    expect(byName.get('HEADRACE_API_PORT')).toBe(8001);
  });
});

describe('failpoints', () => {
  const asked = { HEADRACE_FAILPOINTS: 'sink.fetched=kill', HEADRACE_FAILPOINTS_ALLOWED: 'yes' };

  it('are refused in production, whatever else allows them', () => {
    expect(failure({ ...asked, NODE_ENV: 'production' }).message).toMatch(/HEADRACE_FAILPOINTS/);
    expect(loadSettings({ ...asked, NODE_ENV: 'test' }).failpoints).toBe('sink.fetched=kill');
    expect(loadSettings({ NODE_ENV: 'production' }).failpoints).toBeNull();
  });
});
