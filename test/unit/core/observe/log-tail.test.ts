import { expect, it } from 'vitest';
import { createLogger } from '../../../../core/observe/logger.ts';
import { LogTail } from '../../../../core/observe/log-tail.ts';

it('keeps the last lines of what goes out, by role, with secrets masked', () => {
  const written: string[] = [];
  const tail = new LogTail({ write: (line) => void written.push(line) });
  const log = createLogger({ level: 'info', service: 'up', destination: tail });
  for (let i = 0; i < 5000; i++) log.info({ n: i }, 'line');
  log.child({ role: 'scheduler' }).warn({ password: 'hunter2' }, 'a job waits');
  expect(written).toHaveLength(5001);
  const lines = tail.text(null).trimEnd().split('\n');
  expect(lines).toHaveLength(2000);
  expect(lines.at(-2)).toContain('"n":4999');
  expect(tail.text('scheduler')).toMatch(/^\{.*a job waits.*\}\n$/);
  expect(tail.text(null)).not.toContain('hunter2');
});
