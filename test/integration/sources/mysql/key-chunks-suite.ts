import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tablesNamed, type TableFacts } from '../../../../connectors/sources/mysql/catalog.ts';
import { parseConfig } from '../../../../connectors/sources/mysql/config.ts';
import { KeyOrder, type ChunkBounds } from '../../../../connectors/sources/mysql/key-chunks.ts';
import { RowQuery } from '../../../../connectors/sources/mysql/row-query.ts';
import { connect, SideSession } from '../../../../connectors/sources/mysql/session.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { createDatabase, DATABASE, mysqlConfig, type SqlClient } from './mysql-harness.ts';
import type { ServerKind } from './value-zoo.ts';

/** Values of a key's columns, as SQL. */
interface Key {
  readonly columns: readonly string[];
  readonly values: readonly (readonly string[])[];
  readonly directions?: string;
}

const LETTERS = ["''", "'a'", "'B'", "'c '", "'Ä'", "'ö'", "'Z'", "'ß'", `'a''b\\\\"'`];

const KEYS: Readonly<Record<string, Key>> = {
  whole: {
    columns: ['bigint unsigned'],
    values: [['0', '9223372036854775808', '18446744073709551615']],
  },
  zerofill: { columns: ['int(8) zerofill'], values: [['0', '7', '42', '4294967295']] },
  exact: {
    columns: ['decimal(65,30)'],
    values: [['-1e-30', '0', '0.1', '1e-30', '99999999999999999999999999999999999.1']],
  },
  year: {
    columns: ['year', 'bit(10)'],
    values: [
      ['0', '1901', '2155', '2024'],
      ["b'0'", "b'1'", "b'1111111111'"],
    ],
  },
  nocase: {
    columns: ['varchar(20) character set latin1', 'tinyint'],
    values: [
      [...LETTERS, "x'81'"],
      ['-1', '0', '1'],
    ],
  },
  binary: {
    columns: ['varbinary(20)', 'binary(3)'],
    values: [
      ["''", "x'00'", "x'0000'", "x'ff'"],
      ["x'01'", "x'27'", "x'5c'"],
    ],
  },
  gbk: {
    columns: ['varchar(20) character set gbk', 'char(4) character set utf16'],
    values: [
      ["'中'", "'文'", "'a'"],
      ["'😀'", "'b'"],
    ],
  },
  bin: {
    columns: ['varchar(20) collate utf8mb4_bin', 'int'],
    values: [
      [...LETTERS, "'A'"],
      ['1', '2'],
    ],
    directions: ' DESC',
  },
  clock: {
    columns: ['time(6)', 'date'],
    values: [
      ["'-838:59:58.999999'", "'-00:00:01.5'", "'00:00:00'", "'838:59:59'"],
      ["'1000-01-01'", "'9999-12-31'"],
    ],
  },
  instants: {
    columns: ['timestamp(3)', 'datetime(6)'],
    values: [
      ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999'"],
      ["'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"],
    ],
  },
  tenant: {
    columns: ['int', "enum('z','a','m')", "set('q','p')"],
    values: [
      ['1', '2'],
      ["'z'", "'a'", "'m'"],
      ["'q'", "'p'", "'q,p'", "''"],
    ],
  },
};

const OWN: Readonly<Record<ServerKind, Readonly<Record<string, Key>>>> = {
  mysql: {},
  mariadb: {
    ids: {
      columns: ['uuid', 'inet6'],
      values: [
        [
          "'00000000-0000-0000-0000-000000000001'",
          "'123e4567-e89b-12d3-a456-426614174000'",
          "'0190163d-8694-739b-aea5-966c26f8ad91'",
          "'ffffffff-0000-1000-0000-000000000000'",
        ],
        ["'::'", "'::ffff:192.0.2.1'", "'fe80::'"],
      ],
    },
  },
};

function product(values: readonly (readonly string[])[]): string[][] {
  return values.reduce<string[][]>(
    (rows, column) => rows.flatMap((row) => column.map((value) => [...row, value])),
    [[]],
  );
}

export function keyChunksSuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`tables of ${name} in the order of their keys`, () => {
    let server: ServerContext;
    let sql: SqlClient;
    let side: SideSession;
    beforeAll(async () => {
      server = await start();
      sql = await createDatabase(server);
      side = new SideSession(parseConfig(mysqlConfig(server)));
    });
    afterAll(async () => {
      sql.close();
      await side.close();
      await server[Symbol.asyncDispose]();
    });

    const factsOf = async (table: string): Promise<TableFacts> => {
      const found = await tablesNamed(side, [{ namespace: DATABASE, name: table }]);
      return found.get(`${DATABASE}.${table}`) as TableFacts;
    };

    it.each(Object.keys({ ...KEYS, ...OWN[kind] }))(
      'are read in pieces, nothing left out: %s',
      async (table) => {
        const key = { ...KEYS, ...OWN[kind] }[table] as Key;
        const names = key.columns.map((_, i) => `k${i}`);
        const last = names.map((column, i) =>
          i === 0 ? column : `${column}${key.directions ?? ''}`,
        );
        const rows = product(key.values);
        await sql.run(
          `CREATE TABLE t_${table} (v int, ${key.columns.map((type, i) => `k${i} ${type} NOT NULL`).join(', ')},
           PRIMARY KEY (${last.join(', ')}))`,
          `INSERT INTO t_${table} VALUES ${rows.map((row, i) => `(${i}, ${row.join(', ')})`).join(', ')}`,
        );
        const order = KeyOrder.of(await factsOf(`t_${table}`)) as KeyOrder;
        const reader = new RowQuery(await connect(parseConfig(mysqlConfig(server))));
        const read = async (bounds: ChunkBounds): Promise<{ v: string; key: string[] }[]> => {
          const found: { v: string; key: string[] }[] = [];
          await reader.run(order.select(bounds, ["'more'"]), order.cells.length + 1, {
            row: (bytes, spans) => {
              const v = bytes.toString('latin1', spans[0], spans[1]);
              found.push({ v, key: order.keyOf(bytes, spans) });
            },
            chunkDone: () => null,
          });
          return found;
        };
        const whole = await read({ after: null });
        expect(whole.map(({ v }) => Number(v)).toSorted((a, b) => a - b)).toEqual(
          rows.map((_, i) => i),
        );
        for (const [i, { key: after }] of whole.entries()) {
          expect(await read({ after })).toEqual(whole.slice(i + 1));
          expect(await read({ after: null, upTo: after })).toEqual(whole.slice(0, i + 1));
        }
        const [explained] = await sql.run(
          `EXPLAIN FORMAT=JSON ${order.select({ after: whole[1]?.key ?? [], limit: 2 })}`,
        );
        expect(String(Object.values(explained ?? {})[0])).not.toMatch(
          /filesort|"access_type": "ALL"/,
        );
        reader.destroy();
      },
    );

    it('find a place in the middle by the index, not by looking at what lies before', async () => {
      await sql.run(
        `CREATE TABLE large (a varchar(10) character set latin1, b int, c datetime(6), v int, PRIMARY KEY (a, b, c))`,
        `INSERT INTO large WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           SELECT i % 10, i, '2024-01-01', i FROM n`,
        'ANALYZE TABLE large',
      );
      const order = KeyOrder.of(await factsOf('large')) as KeyOrder;
      const select = order.select({
        after: ['38', '900', '2024-01-01 00:00:00.000000'],
        limit: 100,
      });
      const [row] = await sql.run(`EXPLAIN FORMAT=JSON ${select}`);
      const plan = String(Object.values(row ?? {})[0]);
      expect(plan).toMatch(/"access_type": "range"|Index range scan on large using PRIMARY/);
      expect(plan).not.toMatch(/filesort/i);
    });

    it('have none where a statement could not be held to the index', async () => {
      await sql.run(
        'CREATE TABLE bare (id int)',
        'CREATE TABLE part (t text, PRIMARY KEY (t(5)))',
        'CREATE TABLE floats (f double PRIMARY KEY)',
        "CREATE TABLE kinds (e enum('b','a'), id int, PRIMARY KEY (e, id))",
        'CREATE TABLE hashed (id int, PRIMARY KEY USING HASH (id)) ENGINE = MEMORY',
      );
      for (const table of ['bare', 'part', 'floats', 'kinds', 'hashed']) {
        expect(KeyOrder.of(await factsOf(table)), table).toBeNull();
      }
    });
  });
}
