import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAppendedTable } from '../../../../connectors/destinations/postgres/appended-copy.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog } from './event-log.ts';
import { newTarget, writeLog, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

async function repeatedKeys(target: TestTarget, log: EventLog): Promise<number | undefined> {
  const copy = await openAppendedTable({
    config: target.config,
    connectionId: 'c1',
    topic: log.topic,
    partitions: [0],
    stream: log.stream,
    scratchFolder: '/nonexistent',
  });
  try {
    return await copy.look(async (view) => view.repeatedKeys?.());
  } finally {
    await copy.close();
  }
}

describe('keys that are in an append table more than once', () => {
  it.each([undefined, 'basic', 'classic', 'v2', 'none'])('are counted: %s', async (option) => {
    const config = option === undefined ? {} : { normalization: { option } };
    await using target = await newTarget(server, { config });
    const stream = appended('t', ['Id', 'part']);
    const columns = {
      Id: { kind: 'int32' },
      part: { kind: 'string' },
      n: { kind: 'int32' },
    } as const;
    const log = new EventLog(target.schemas, stream, columns);
    log.create({ Id: 1, part: 'a', n: 1 });
    log.create({ Id: 1, part: 'b', n: 1 });
    log.create({ Id: 2, part: 'a', n: 1 });
    await writeLog(target, log);
    expect(await repeatedKeys(target, log)).toBe(0);
    log.create({ Id: 1, part: 'a', n: 1 });
    log.update({ Id: 1, part: 'a', n: 2 });
    log.create({ Id: 2, part: 'a', n: 1 });
    log.delete({ Id: 2, part: 'a', n: 1 });
    await writeLog(target, log, 3);
    expect(await repeatedKeys(target, log)).toBe(3);
  });

  it('are not asked for where there is no key, or one row of each', async () => {
    await using target = await newTarget(server);
    for (const stream of [appended('t', []), deduped('u')]) {
      const log = new EventLog(target.schemas, stream, { id: { kind: 'int32' } });
      log.create({ id: 1 });
      await writeLog(target, log);
      expect(await repeatedKeys(target, log)).toBeUndefined();
    }
  });
});
