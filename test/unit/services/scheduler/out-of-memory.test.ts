import { expect, it } from 'vitest';
import { memoryDeaths } from '../../../../services/scheduler/out-of-memory.ts';

it('counts deaths since the attempt began, in the words of Airbyte and of the connector that died', () => {
  const message = 'OOMKilled: Container exceeded memory limit: the process ended.';
  const source = { code: 'SRC_OUT_OF_MEMORY', message, at: 100 } as const;
  const sink = { code: 'SNK_OUT_OF_MEMORY', message, at: 50 } as const;
  const other = { code: 'SRC_UNREACHABLE', message: 'no answer', at: 100 } as const;
  expect(memoryDeaths([source, sink, other, undefined], 60)).toMatchObject([
    { failureOrigin: 'source', retryable: true, timestamp: 100 },
  ]);
  const [death] = memoryDeaths([sink], 50);
  expect(death?.externalMessage).toContain('OOMKilled: Container exceeded memory limit');
  expect(death?.externalMessage).toContain('JOB_MAIN_CONTAINER_MEMORY_LIMIT');
  expect(death?.failureOrigin).toBe('destination');
});
