import { expect, it } from 'vitest';
import { tableOf } from '../../../conformance/event-facts.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run } from '../postgres/capture-harness.ts';
import { mysqlConfig, openRun, sqlClient, type SqlClient } from './mysql-harness.ts';

export interface XaSuite {
  server(): ServerContext;
  /** The session at hand; a prepared transaction is let go of by `reconnect`. */
  sql(): SqlClient;
  reconnect(): Promise<void>;
}

/** Transactions in two phases, whose rows are logged before it is known whether they are committed. */
export function xaTests(suite: XaSuite): void {
  async function streaming(run: Run): Promise<void> {
    await run.until(() => run.progress().phase === 'streaming', 'the stream');
  }

  async function tableNow(): Promise<Map<string, string>> {
    const rows = await suite.sql().run('SELECT id, n FROM xa');
    return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
  }

  it('tells XA transactions when they are committed, over restarts of both ends', async () => {
    await suite.sql().run('CREATE TABLE xa (id int PRIMARY KEY, n int, pad varchar(200))');
    const limits = { maxBufferedBytes: 64 * 1024 };
    const first = await openRun(suite.server(), ['xa'], limits);
    await streaming(first);
    const prepare = async (xid: string, ...changes: string[]): Promise<void> => {
      const own = await sqlClient(suite.server());
      await own.run(`XA START '${xid}'`, ...changes, `XA END '${xid}'`, `XA PREPARE '${xid}'`);
      own.close();
    };
    await prepare('back', 'INSERT INTO xa VALUES (1, 1, NULL)');
    await prepare('soon', 'INSERT INTO xa VALUES (2, 2, NULL)');
    const large = `INSERT INTO xa WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s
        WHERE i < 900) SELECT i + 1000, i, repeat('x', 200) FROM s`;
    await prepare('late', large, 'INSERT INTO xa VALUES (3, 3, NULL)');
    await suite
      .sql()
      .run(
        'INSERT INTO xa VALUES (4, 4, NULL)',
        ...[`XA ROLLBACK 'back'`, `XA COMMIT 'soon'`],
        ...[`XA START 'one'`, 'INSERT INTO xa VALUES (5, 5, NULL)', `XA END 'one'`],
        `XA COMMIT 'one' ONE PHASE`,
        'INSERT INTO xa VALUES (6, 6, NULL)',
      );
    await first.until(() => first.events().length === 4, 'what is committed');
    await first.caughtUp(mysqlConfig(suite.server()));
    await first.close();
    await suite.server().kill();
    await suite.server().restart();
    await suite.reconnect();
    await suite.sql().run(`XA COMMIT 'late'`, 'INSERT INTO xa VALUES (7, 7, NULL)');
    const cut = await openRun(suite.server(), ['xa'], {
      ...limits,
      state: first.state,
      registry: first.registry,
    });
    await cut.until(() => cut.batches.some(({ state }) => state?.details['chunk'] !== undefined));
    await cut.close();
    const last = await openRun(suite.server(), ['xa'], {
      state: cut.state,
      registry: first.registry,
    });
    await last.caughtUp(mysqlConfig(suite.server()));
    await last.close();
    const events = [first, cut, last].flatMap((run) => run.events());
    const ids = events.map(({ after }) => Number(after?.['id'])).filter((id) => id < 1000);
    expect(ids).toEqual([4, 2, 5, 6, 3, 7]);
    expect(events.length).toBe(906);
    expect(tableOf(events)).toEqual(await tableNow());
    expect(last.state?.details['prepared']).toBeUndefined();
  });

  it('stops at an XA transaction that is older than the copy', async () => {
    await suite.sql().run('CREATE TABLE older (id int PRIMARY KEY, n int)');
    await suite.sql().run(`XA START 'older'`, 'INSERT INTO older VALUES (1, 1)');
    await suite.sql().run(`XA END 'older'`, `XA PREPARE 'older'`);
    await suite.reconnect();
    const run = await openRun(suite.server(), ['older']);
    await streaming(run);
    await suite.sql().run(`XA COMMIT 'older'`);
    await run.until(() => run.progress().streams[0]?.phase === 'stopped', 'the stop');
    expect(run.progress().streams[0]?.error).toMatchObject({ code: 'SRC_LOG_INCOMPLETE' });
    await run.close();
  });
}
