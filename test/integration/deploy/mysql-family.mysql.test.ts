import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { debianCommand } from '../../../deploy/local/debian-programs.ts';
import { portIsFree } from '../../../deploy/local/free-port.ts';
import type { LocalServer } from '../../../deploy/local/local-server.ts';
import { mariadbPrograms } from '../../../deploy/local/mariadb.ts';
import { mysqlPrograms } from '../../../deploy/local/mysql.ts';
import { mariadbContext, mysqlContext } from '../../support/contexts.ts';

type Query = (sql: string) => string[];

/** Asks through the server's own client, by TCP, as any user of it would. */
function queryBy(root: string, client: string, server: LocalServer): Query {
  const [program, ...args] = debianCommand(root, `usr/bin/${client}`);
  const target = ['--no-defaults', '-h127.0.0.1', `-P${server.port}`, '-uroot', '-N', '-B', '-e'];
  return (sql) =>
    execFileSync(program, [...args, ...target, sql], { encoding: 'utf8' })
      .trimEnd()
      .split('\n');
}

const BINLOG = 'select @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata';

const KINDS = [
  {
    name: 'MySQL',
    start: mysqlContext,
    programs: mysqlPrograms,
    client: 'mysql',
    gtidsSeen: 'select @@gtid_executed',
    firstGtids: /^[0-9a-f-]{36}:1-3$/,
  },
  ...(['10.11', '11.8'] as const).map((release) => ({
    name: `MariaDB ${release}`,
    start: () => mariadbContext({ release }),
    programs: () => mariadbPrograms(release),
    client: 'mariadb',
    gtidsSeen: 'select @@gtid_binlog_pos',
    firstGtids: /^0-\d+-3$/,
  })),
] as const;

describe.each(KINDS)('$name', ({ start, programs, client, gtidsSeen, firstGtids }) => {
  test('writes a row binlog with GTIDs, and keeps its data through SIGKILL and stop', async () => {
    await using server = await start();
    const query = queryBy(await programs(), client, server);
    expect(query(BINLOG)).toEqual(['1\tROW\tFULL\tFULL']);

    query(
      'create database shop; create table shop.kept (word text); insert into shop.kept values (1)',
    );
    // What the start itself did is not logged: a test's own statements are the first ones.
    expect(query(gtidsSeen)[0]).toMatch(firstGtids);

    await server.kill();
    expect(await portIsFree(server.port)).toBe(true);
    await server.restart();
    expect(query('select word from shop.kept')).toEqual(['1']);

    await server.stop();
    expect(await portIsFree(server.port)).toBe(true);
    await server.restart();
    expect(query('select word from shop.kept')).toEqual(['1']);
  });
});
