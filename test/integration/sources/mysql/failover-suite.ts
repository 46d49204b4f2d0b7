import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SourceState } from '../../../../connectors/spi/source.ts';
import { miscounted, tableOf } from '../../../conformance/event-facts.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { until } from '../../../support/rig.ts';
import type { Run } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';
import type { ServerKind } from './value-zoo.ts';

/** How each kind is told to follow another server, to stop, and to forget its log. */
const REPLICATION = {
  mysql: {
    follow: (port: number) =>
      `CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = ${port},
       SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1`,
    start: 'START REPLICA',
    stop: 'STOP REPLICA',
    executed: 'SELECT @@gtid_executed AS gtids',
  },
  mariadb: {
    follow: (port: number) =>
      `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port},
       MASTER_USER = 'root', MASTER_USE_GTID = slave_pos, MASTER_SSL = 0`,
    start: 'START SLAVE',
    stop: 'STOP SLAVE',
    executed: 'SELECT @@gtid_binlog_pos AS gtids',
  },
} as const;

export function failoverSuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`${name}: failover to a replica`, () => {
    const speak = REPLICATION[kind];
    let primary: ServerContext;
    let replica: ServerContext;
    let there: SqlClient;
    let here: SqlClient;
    let state: SourceState | null;
    let first: Run;

    beforeAll(async () => {
      [primary, replica] = await Promise.all([start(), start()]);
      there = await createDatabase(primary);
      // The primary's places lie beyond the replica's.
      await there.run('FLUSH BINARY LOGS', 'FLUSH BINARY LOGS');
      here = await sqlClient(replica, 'mysql');
      await here.run(speak.follow(primary.port), speak.start);
    });
    afterAll(async () => {
      there.close();
      here.close();
      await Promise.all([primary[Symbol.asyncDispose](), replica[Symbol.asyncDispose]()]);
    });

    const countUp = (ids: number): string[] =>
      Array.from({ length: ids }, (_, id) => `UPDATE shop.moved SET n = n + 1 WHERE id = ${id}`);

    const gtids = async (sql: SqlClient): Promise<string> =>
      String((await sql.run(speak.executed))[0]?.['gtids']).replaceAll(/\s/g, '');

    async function replicated(): Promise<void> {
      const wanted = await gtids(there);
      await until('the replica', async () => (await gtids(here)) === wanted);
    }

    async function rowsOf(sql: SqlClient): Promise<Map<string, string>> {
      const rows = await sql.run('SELECT id, n FROM shop.moved');
      return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
    }

    it('refuses a replica as long as it lags', async () => {
      await there.run(
        'CREATE TABLE moved (id int PRIMARY KEY, n int)',
        'INSERT INTO moved VALUES (0, 0), (1, 0), (2, 0), (3, 0)',
      );
      first = await openRun(primary, ['moved']);
      await first.until(() => first.progress().phase === 'streaming', 'the stream');
      await replicated();
      await here.run(speak.stop);
      await there.run(...countUp(4));
      await first.caughtUp(mysqlConfig(primary));
      await first.until(() => first.events().length === 8, 'the changes');
      const behind = openRun(replica, ['moved'], { state: first.state });
      await expect(behind).rejects.toMatchObject({ code: 'SRC_POSITION_AHEAD' });
    });

    it('goes on after kill -9 of the primary, without a gap and without a repeat', async () => {
      await here.run(speak.start);
      await there.run(...countUp(3));
      await first.close();
      state = first.state;
      // What the old process has not read, the new one finds in the replica's log.
      await there.run(...countUp(4));
      await replicated();
      await primary.kill();
      await here.run(speak.stop, ...countUp(2), 'FLUSH BINARY LOGS', ...countUp(1));
      const second = await openRun(replica, ['moved'], { state, registry: first.registry });
      await second.caughtUp(mysqlConfig(replica));
      await second.close();
      await here.run(...countUp(4));
      const third = await openRun(replica, ['moved'], {
        state: second.state,
        registry: first.registry,
      });
      await third.caughtUp(mysqlConfig(replica));
      await third.close();
      const events = [first, second, third].flatMap((run) => run.events());
      expect(tableOf(events)).toEqual(await rowsOf(here));
      expect(miscounted(events)).toEqual([]);
      const epochs = [second, third].flatMap((run) => run.events()).map(({ source }) => source);
      expect(new Set(epochs.map(({ epoch }) => Number(epoch)))).toEqual(new Set([2]));
    });

    it('refuses a server that has removed what was not read', async () => {
      if (kind === 'mariadb') {
        const [setting] = await here.run(
          `SHOW GLOBAL VARIABLES LIKE 'slave_connections_needed_for_purge'`,
        );
        if (setting !== undefined) {
          await here.run('SET GLOBAL slave_connections_needed_for_purge = 0');
        }
      }
      await here.run('FLUSH BINARY LOGS');
      const newest = (await here.run('SHOW BINARY LOGS')).at(-1)?.['Log_name'];
      await until('the purge', async () => {
        await here.run(`PURGE BINARY LOGS TO '${newest}'`);
        return (await here.run('SHOW BINARY LOGS'))[0]?.['Log_name'] === newest;
      });
      await expect(openRun(replica, ['moved'], { state })).rejects.toMatchObject({
        code: 'SRC_BINLOG_PURGED',
      });
    });
  });
}
