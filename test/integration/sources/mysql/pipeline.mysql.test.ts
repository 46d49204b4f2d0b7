import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mysqlContext, type ServerContext } from '../../../support/contexts.ts';
import {
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  until,
  statusOf,
  type Rig,
} from '../../../support/rig.ts';
import { createDatabase, mysqlConfig, type SqlClient } from './mysql-harness.ts';
import { ZOO, zooRows, zooTable } from './value-zoo.ts';

/** What MySQL itself prints for a column, in the form in which Postgres prints the same value. */
function textOf(name: string, type: string): string {
  const column = `\`${name}\``;
  if (/^(binary|varbinary|(tiny|medium|long)?blob)/.test(type)) {
    return `CONCAT('\\\\x', LOWER(HEX(${column})))`;
  }
  if (/^(point|geometry)/.test(type))
    return `CONCAT('\\\\x', LOWER(HEX(CAST(${column} AS BINARY))))`;
  const bits = /^bit\((\d+)\)/.exec(type);
  if (bits !== null) return `LPAD(BIN(${column}), ${bits[1]}, '0')`;
  if (/zerofill/.test(type)) return `CAST(${column} + 0 AS CHAR)`;
  if (/^(float|double)/.test(type)) return `${column} * 1e0`;
  if (/^timestamp/.test(type)) {
    return `IF(YEAR(${column}) = 0, NULL, TRIM(TRAILING '.' FROM IF(${column} LIKE '%.%', TRIM(TRAILING '0' FROM ${column}), ${column})))`;
  }
  if (/^(date|datetime)/.test(type)) {
    return `IF(YEAR(${column}) = 0 OR MONTH(${column}) = 0, NULL, IF(${column} LIKE '%.%', TRIM(TRAILING '0' FROM ${column}), ${column}))`;
  }
  if (/^time/.test(type)) {
    return `IF(${column} LIKE '%.%', TRIM(TRAILING '0' FROM ${column}), ${column})`;
  }
  return `CAST(${column} AS CHAR)`;
}

describe('MySQL to Postgres over the API', () => {
  let rig: Rig;
  let server: ServerContext;
  let sql: SqlClient;
  let connectionId: string;

  beforeAll(async () => {
    [rig, server] = await Promise.all([startRig(), mysqlContext()]);
    sql = await createDatabase(server);
    await sql.run(
      zooTable('mysql'),
      ...zooRows('mysql', 0),
      'CREATE TABLE nothing (id int PRIMARY KEY)',
    );
    const sourceId = await createSource(rig, mysqlConfig(server), 'sourceMysql');
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  });
  afterAll(async () => {
    sql.close();
    await Promise.all([rig[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
  });

  it('brings every value as the text that MySQL prints, by snapshot and by log', async () => {
    await until('the snapshot', async () => {
      const { sourceReport } = await statusOf(rig, connectionId);
      return sourceReport?.streams.every((stream) => stream.phase === 'streaming') === true;
    });
    await sql.run(...zooRows('mysql', 1000), 'DELETE FROM zoo WHERE id = 1001');
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    const columns = ZOO.mysql.map(({ name, type }) => `${textOf(name, type)} AS ${name}`);
    const expected = await sql.run(`SELECT id, ${columns.join(', ')} FROM zoo ORDER BY id`);
    const found = await query<Record<string, string | null>>(
      rig.target,
      `SELECT id::text, ${ZOO.mysql.map(({ name }) => `${name}::text`).join(', ')}
       FROM zoo ORDER BY zoo.id`,
    );
    expect(found.length).toBe(expected.length);
    const different: unknown[] = [];
    for (const [i, row] of expected.entries()) {
      for (const { name, type } of ZOO.mysql) {
        let want = row[name] ?? null;
        // Postgres lays JSON out in its own way: it gets MySQL's text to do the same with.
        if (type === 'json' && want !== null) {
          const [laid] = await query<{ text: string }>(
            rig.target,
            'SELECT $1::jsonb::text AS text',
            [want],
          );
          want = laid?.text ?? null;
        }
        const got = found[i]?.[name] ?? null;
        if (comparable(want, type) === comparable(got, type)) continue;
        different.push([row['id'], name, want?.slice(0, 80), got?.slice(0, 80)]);
      }
    }
    expect(different).toEqual([]);
    const empty = await query(rig.target, 'SELECT * FROM nothing');
    expect(empty).toEqual([]);
  });
});

/** Numbers by value, the UTC mark of Postgres left out. */
function comparable(text: string | null, type: string): string | null {
  if (text === null) return null;
  if (/^float/.test(type)) return String(Math.fround(Number(text)));
  if (/^double/.test(type)) return String(Number(text));
  if (type === 'year') return String(Number(text));
  if (/^timestamp/.test(type)) return text.replace(/\+00$/, '');
  return text;
}
