import { expect, it } from 'vitest';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import { createLogger } from '../../../../core/observe/logger.ts';
import { exposition, metrics } from '../../../../core/observe/metrics.ts';

function linesOf(level: string): { lines: string[]; logger: ReturnType<typeof createLogger> } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { lines, logger: createLogger({ level, service: 'api', destination }) };
}

it('writes JSON lines with level, time and service', () => {
  const { lines, logger } = linesOf('info');
  logger.child({ connection: 'c1' }).info({ stream: 'public.t' }, 'started');
  logger.debug('not this');
  expect(lines).toHaveLength(1);
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  expect(line).toMatchObject({
    level: 'info',
    service: 'api',
    connection: 'c1',
    stream: 'public.t',
    msg: 'started',
  });
  expect(Date.parse(String(line['time']))).toBeGreaterThan(0);
});

it('never writes a secret, however deep, nor a whole configuration (invariant 8)', () => {
  const { lines, logger } = linesOf('trace');
  logger.info({
    password: 's3cret',
    a: { token: 's3cret', b: { secret_access_key: 's3cret', c: { client_key: 's3cret' } } },
    config: { anything: 's3cret' },
  });
  expect(lines.join('')).not.toContain('s3cret');
});

it("writes an error's code and details, not a driver's own fields", () => {
  const { lines, logger } = linesOf('info');
  const cause = Object.assign(new Error('duplicate key'), { detail: 'Key (id)=(row-value)' });
  const error = new PipelineError('BUG_UNEXPECTED', 'it broke', { details: { table: 't' }, cause });
  logger.error({ err: error }, 'failed');
  expect(lines.join('')).not.toContain('row-value');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    err: { code: 'BUG_UNEXPECTED', details: { table: 't' }, cause: 'duplicate key' },
  });
});

it('exposes every metric with help, named for area, what and unit', async () => {
  metrics.errors.inc({ code: 'BUG_UNEXPECTED' });
  const text = await exposition();
  expect(text).toContain('headrace_errors_total{code="BUG_UNEXPECTED"} 1');
  for (const line of text.split('\n').filter((each) => each.startsWith('# HELP'))) {
    expect(line).toMatch(/^# HELP headrace_[a-z_]+_(total|bytes|seconds|rows|records) \S/);
  }
});
