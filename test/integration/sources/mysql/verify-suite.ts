import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServerContext } from '../../../support/contexts.ts';
import {
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../../../support/rig.ts';
import { verify } from '../../../support/verify-command.ts';
import { createDatabase, mysqlConfig, sqlClient, type SqlClient } from './mysql-harness.ts';
import { zooRows, zooTable, type ServerKind } from './value-zoo.ts';

const NUMBERS = 3_000;

const TABLES = [
  `CREATE TABLE numbers (id bigint PRIMARY KEY, n decimal(30,10), d double, r float, b varbinary(40),
     at timestamp(6) NULL, span time(3), note varchar(100), zeros int(8) zerofill)`,
  `CREATE TABLE words (word varchar(50) CHARACTER SET utf8mb4 PRIMARY KEY, weight int)`,
  `CREATE TABLE pairs (a int, b varchar(20), at date, v int, PRIMARY KEY (at, b, a))`,
  `CREATE TABLE ids (id binary(16) PRIMARY KEY, price decimal(12,4), UNIQUE (price))`,
  `CREATE TABLE big (id bigint unsigned PRIMARY KEY, m enum('sad','glad'))`,
  `CREATE TABLE nothing (id int PRIMARY KEY)`,
];

function numbers(): string {
  const rows = Array.from({ length: NUMBERS }, (_, i) => {
    const id = i + 1;
    const note = i % 3 === 0 ? "''" : i % 3 === 1 ? 'NULL' : `'x|~\\\\${id}'`;
    return `(${id}, ${id} / 7, 1 / ${id}, 1 / ${id}, UNHEX(SHA2(${id}, 256)),
      '2026-01-01 12:00:00.5' + INTERVAL ${id} MINUTE, SEC_TO_TIME(${id} - 1500.25), ${note}, ${id})`;
  });
  return `INSERT INTO numbers VALUES ${rows.join(', ')}`;
}

function words(): string {
  const starts = ['É', 'ß', '"q",\\\\', 'Z ', '😀-'];
  const rows = Array.from({ length: 1_500 }, (_, i) => `('${starts[i % 5]}${i}', ${i})`);
  return `INSERT INTO words VALUES ('', 0), ${rows.join(', ')}`;
}

function pairs(): string {
  const rows = Array.from(
    { length: 1_500 },
    (_, i) => `(${i % 7}, 'b${i}', DATE '2026-01-01' + INTERVAL ${i % 30} DAY, ${i})`,
  );
  return `INSERT INTO pairs VALUES ${rows.join(', ')}`;
}

const IDS = `INSERT INTO ids VALUES (x'00', 1.5), (x'00112233445566778899aabbccddeeff', 2),
  (x'ff', 0.0001)`;
const BIG = `INSERT INTO big VALUES (0, 'sad'), (9223372036854775807, 'glad'),
  (18446744073709551615, NULL), (5, 'glad')`;

/** In the copy; rows that no writer touches. */
const DAMAGE = `
  DELETE FROM numbers WHERE id IN (2001, 2777);
  UPDATE numbers SET d = d * (1 + 2.3e-16) WHERE id = 2100;
  UPDATE numbers SET span = span + interval '1 ms' WHERE id = 2200;
  UPDATE words SET word = 'É5X' WHERE word = 'É5';
  UPDATE pairs SET v = v + 1 WHERE b = 'b1';
  UPDATE ids SET price = 1.5001 WHERE price = 1.5;
  DELETE FROM big WHERE id = 18446744073709551615;
  UPDATE zoo SET c_json = NULL WHERE id = 2;
  UPDATE zoo SET c_float = 1.2 WHERE id = 3`;

/** A MySQL or MariaDB server's tables against their copies in Postgres. */
export function verifySuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`headrace verify of tables of ${name}`, () => {
    let rig: Rig;
    let server: ServerContext;
    let sql: SqlClient;
    let connectionId: string;

    beforeAll(async () => {
      [rig, server] = await Promise.all([startRig(), start()]);
      sql = await createDatabase(server);
      await sql.run(zooTable(kind), ...zooRows(kind, 0), ...TABLES);
      await sql.run(numbers(), words(), pairs(), IDS, BIG);
      const sourceId = await createSource(rig, mysqlConfig(server), 'sourceMysql');
      const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
      connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
      expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    }, 240_000);
    afterAll(async () => {
      sql.close();
      await Promise.all([rig[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
    });

    it('finds copies equal while they are written to, and names exactly the keys that are not', async () => {
      const writers = await startWriters(server);
      try {
        await sql.run(...zooRows(kind, 1000));
        const equal = await verify(rig, connectionId);
        expect(equal, equal.out + equal.err).toMatchObject({ exit: 0 });
        expect([...equal.verdicts.keys()].toSorted()).toEqual(
          ['big', 'ids', 'nothing', 'numbers', 'pairs', 'words', 'zoo'].map(
            (each) => `shop.${each}`,
          ),
        );
        expect(equal.verdicts.get('shop.pairs')?.rows).toBe(1_500);
        await query(rig.target, DAMAGE);
        const damaged = await verify(rig, connectionId);
        expect(damaged, damaged.out + damaged.err).toMatchObject({ exit: 1 });
        const none = { missing: [], extra: [], different: [], unsettled: [] };
        const of = (table: string): unknown => damaged.verdicts.get(`shop.${table}`);
        const found = damaged.verdicts.get('shop.numbers');
        expect(found?.missing.toSorted()).toEqual([['2001'], ['2777']]);
        expect(found?.different.toSorted()).toEqual([['2100'], ['2200']]);
        expect(found).toMatchObject({ extra: [], unsettled: [] });
        expect(of('words')).toMatchObject({ ...none, missing: [['É5']], extra: [['É5X']] });
        expect(of('pairs')).toMatchObject({ ...none, different: [['2026-01-02', 'b1', '1']] });
        const first = [`\\x${'00'.repeat(16)}`];
        expect(of('ids')).toMatchObject({ ...none, different: [first] });
        expect(of('big')).toMatchObject({ ...none, missing: [['18446744073709551615']] });
        expect(of('nothing')).toMatchObject({ ...none, rows: 0 });
        expect(damaged.verdicts.get('shop.zoo')?.different.toSorted()).toEqual([['2'], ['3']]);
      } finally {
        await writers.stop();
      }
    }, 500_000);
  });
}

/** Updates, deletes and inserts, rows that never rest and rows that come back as they were. */
async function startWriters(server: ServerContext): Promise<{ stop(): Promise<void> }> {
  let stopped = false;
  const each = async (statements: (n: number) => string[], pauseMs: number): Promise<void> => {
    const client = await sqlClient(server);
    try {
      for (let n = 1; !stopped; n++) {
        await client.run(...statements(n));
        await delay(pauseMs);
      }
    } finally {
      client.close();
    }
  };
  const all = [
    each((n) => [`UPDATE numbers SET n = n + ${n} WHERE id = 1`], 40),
    each((n) => [`UPDATE numbers SET d = d + 1 WHERE id IN (${2 + ((n * 37) % 1900)}, 2)`], 150),
    each((n) => [`DELETE FROM words WHERE weight = ${600 + (n % 800)}`], 150),
    each((n) => [`INSERT INTO words VALUES ('new${n}', 3000)`], 150),
    each((n) => [`REPLACE INTO numbers (id, note) VALUES (${NUMBERS + (n % 3) + 1}, 'back')`], 60),
  ];
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(all);
    },
  };
}
