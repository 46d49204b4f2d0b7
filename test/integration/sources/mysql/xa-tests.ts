import { expect, it } from 'vitest';
import { tableOf } from '../../../conformance/event-facts.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import { Run } from '../postgres/capture-harness.ts';
import { DATABASE, mysqlConfig, openRun, sqlClient, type SqlClient } from './mysql-harness.ts';

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

  /** By a session of its own, which then lets go of it. */
  async function prepare(xid: string, ...changes: string[]): Promise<void> {
    const own = await sqlClient(suite.server());
    await own.run(`XA START '${xid}'`, ...changes, `XA END '${xid}'`, `XA PREPARE '${xid}'`);
    own.close();
  }

  it('tells XA transactions when they are committed, over restarts of both ends', async () => {
    await suite.sql().run('CREATE TABLE xa (id int PRIMARY KEY, n int, pad varchar(200))');
    const limits = { maxBufferedBytes: 64 * 1024 };
    const first = await openRun(suite.server(), ['xa'], limits);
    await streaming(first);
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

  it('waits for the end of XA transactions that are older than the first copy, and no others', async () => {
    await suite.sql().run('CREATE TABLE older (id int PRIMARY KEY, n int)');
    await prepare('older', 'INSERT INTO older VALUES (1, 1)');
    await prepare('gone', 'INSERT INTO older VALUES (2, 1)');
    const run = await openRun(suite.server(), ['older']);
    const waits = (): string => run.progress().waitingFor ?? '';
    await run.until(() => waits().includes(`XA transactions: `), 'the wait');
    expect(waits()).toContain(`'older','',1`);
    await prepare('younger', 'INSERT INTO older VALUES (3, 1)');
    await prepare('undone', 'INSERT INTO older VALUES (4, 1)');
    expect(run.events()).toEqual([]);
    await suite.sql().run(`XA COMMIT 'older'`, `XA ROLLBACK 'gone'`);
    await streaming(run);
    await suite
      .sql()
      .run(`XA COMMIT 'younger'`, `XA ROLLBACK 'undone'`, 'INSERT INTO older VALUES (5, 1)');
    await run.caughtUp(mysqlConfig(suite.server()));
    await run.close();
    expect(run.events().map(({ op, after }) => [op, after?.['id']])).toEqual([
      ['r', 1],
      ['c', 3],
      ['c', 5],
    ]);
    expect(run.state?.details['prepared']).toBeUndefined();
  });

  it('gives up waiting for XA transactions that stay, by name', async () => {
    await suite.sql().run('CREATE TABLE stays (id int PRIMARY KEY, n int)');
    await prepare('stays', 'INSERT INTO stays VALUES (1, 1)');
    const replication_method = { method: 'CDC', initial_waiting_seconds: 1 };
    const run = await Run.open(
      { ...mysqlConfig(suite.server()), replication_method },
      { source, streams: [{ namespace: DATABASE, name: 'stays' }] },
    );
    const failure = await run.failed();
    expect(failure).toMatchObject({ code: 'SRC_XA_WAIT' });
    expect(failure.message).toContain(`'stays','',1`);
    await suite.sql().run(`XA ROLLBACK 'stays'`);
  });
}
