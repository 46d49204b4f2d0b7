import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../../../core/observe/logger.ts';
import { Backoff } from '../../../../core/run/backoff.ts';
import { systemClock, type Clock } from '../../../../core/run/clock.ts';
import { armFailpoints, failpoint } from '../../../../core/run/failpoints.ts';
import { runServices, type Service } from '../../../../core/run/service.ts';

const logger = createLogger({ level: 'silent', service: 'test' });

function untilAborted(name: string, drained: string[]): Service {
  return {
    name,
    async run(signal) {
      if (!signal.aborted) await once(signal, 'abort');
      drained.push(name);
    },
  };
}

describe('runServices', () => {
  it('ends all when the signal aborts, and resolves', async () => {
    const drained: string[] = [];
    const abort = new AbortController();
    const running = runServices({
      services: [untilAborted('a', drained), untilAborted('b', drained)],
      logger,
      signal: abort.signal,
    });
    abort.abort();
    await running;
    expect(drained.toSorted()).toEqual(['a', 'b']);
  });

  it('drains the others and rejects with the first failure', async () => {
    const drained: string[] = [];
    const failing: Service = { name: 'x', run: () => Promise.reject(new Error('first')) };
    await expect(
      runServices({ services: [failing, untilAborted('a', drained)], logger }),
    ).rejects.toThrow('first');
    expect(drained).toEqual(['a']);
  });

  it('gives up on a service that does not drain', async () => {
    const stuck: Service = { name: 'stuck', run: () => new Promise(() => undefined) };
    await expect(
      runServices({ services: [stuck], logger, signal: AbortSignal.abort(), drainMs: 20 }),
    ).rejects.toThrow('not drained within 20 ms');
  });

  it('SIGTERM ends a process with 0', async () => {
    const script = join(tmpdir(), `headrace-service-${process.pid}.ts`);
    const folder = join(import.meta.dirname, '../../../../core');
    await writeFile(
      script,
      `import { runServices } from '${folder}/run/service.ts';
       import { createLogger } from '${folder}/observe/logger.ts';
       const idle = { name: 'idle', run: (signal) => new Promise((resolve) => {
         const alive = setInterval(() => undefined, 1000);
         signal.addEventListener('abort', () => { clearInterval(alive); resolve(); });
         process.send('up');
       }) };
       await runServices({ services: [idle], logger: createLogger({ level: 'silent', service: 't' }) });
       process.disconnect();`,
    );
    const child = fork(script, { stdio: 'ignore' });
    await once(child, 'message');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('Backoff', () => {
  it('doubles up to the maximum within its span, and starts over after reset', async () => {
    const waits: number[] = [];
    const clock: Clock = {
      now: () => 0,
      wait: (ms) => (waits.push(ms), Promise.resolve()),
    };
    const backoff = new Backoff({ firstMs: 100, maxMs: 500, clock, random: () => 0.5 });
    const never = new AbortController().signal;
    for (let i = 0; i < 4; i++) await backoff.wait(never);
    expect(backoff.count).toBe(4);
    backoff.reset();
    await backoff.wait(never);
    expect(waits).toEqual([75, 150, 300, 375, 75]);
  });

  it('ends a wait at once when the signal aborts', async () => {
    const abort = new AbortController();
    const waiting = systemClock.wait(3_600_000, abort.signal);
    abort.abort();
    await waiting;
    await systemClock.wait(3_600_000, abort.signal);
  });
});

describe('failpoints', () => {
  afterEach(() => armFailpoints({ failpoints: null, failpointsAllowed: false }));

  it('are off unless both settings say so', () => {
    armFailpoints({ failpoints: 'a=error', failpointsAllowed: false });
    expect(failpoint('a')).toBeUndefined();
  });

  it('fail once, at the pass asked for', async () => {
    armFailpoints({ failpoints: 'a=2*error; b=delay(1)', failpointsAllowed: true });
    await failpoint('a');
    await failpoint('b');
    await expect(failpoint('a')).rejects.toThrow('failpoint a');
    await failpoint('a');
  });

  it('refuse what they do not understand', () => {
    expect(() => armFailpoints({ failpoints: 'a=explode', failpointsAllowed: true })).toThrow(
      /a=explode/,
    );
  });
});
