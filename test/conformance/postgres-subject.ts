import { source } from '../../connectors/sources/postgres/source.ts';
import { postgresContext } from '../support/contexts.ts';
import { configOf, sqlClient } from '../integration/sources/postgres/capture-harness.ts';
import type { SourceSubject } from './source-subject.ts';

/** Types and edges beyond those that the type tests of Postgres compare value by value. */
const ZOO: readonly (readonly [type: string, ...values: string[]])[] = [
  ['boolean', 'true', 'false'],
  ['smallint', '-32768', '32767'],
  ['integer', '-2147483648', '2147483647'],
  ['bigint', '-9223372036854775808', '9007199254740993'],
  ['real', `'NaN'`, '3.4028235e38'],
  ['double precision', '-0.0', '5e-324', `'-Infinity'`],
  ['numeric', `'NaN'`, '123456789012345678901234567890.1234567890'],
  ['numeric(65,30)', '-0.000000000000000000000000000001', '1'],
  ['text', `''`, `E'tab\\tline\\nback\\\\slash \\\\N'`, `'ü😀'`],
  ['varchar(10)', `'ab '`],
  ['char(5)', `'ab'`],
  ['bytea', `'\\x00ff5c0a'`, `''`],
  ['date', `'4713-01-01 BC'`, `'infinity'`],
  ['time(6)', `'24:00:00'`, `'00:00:00.000001'`],
  ['timestamp', `'1969-12-31 23:59:59.999999'`, `'-infinity'`],
  ['timestamptz', `'2024-03-31 02:30:00.123456+01'`, `'infinity'`],
  ['timetz', `'12:34:56.789+05:30'`],
  ['interval', `'1 year 2 mons -3 days 04:05:06.7'`, `'-00:00:00.000001'`],
  ['uuid', `'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`],
  ['json', `'{"a": 12345678901234567890, "a": 1.10}'`],
  ['jsonb', `'{"b": [1, null, "x"]}'`, `'null'`],
  ['bit(4)', `B'0101'`],
  ['integer[]', `'{1,NULL,3}'`, `'{}'`, `'{{1,2},{3,4}}'`],
  ['text[]', `ARRAY['a,b', '"', NULL]`],
  ['inet', `'10.1.0.0/16'`],
  ['int4range', `'[1,5)'`, `'empty'`],
  ['point', `'(1.5,-2)'`],
  ['tsvector', `'a:1 b:2'`],
];

function rows(firstId: number): string[] {
  const count = Math.max(...ZOO.map(([, ...values]) => values.length));
  const statements = [`INSERT INTO zoo (id) VALUES (${firstId})`];
  for (let row = 0; row < count; row++) {
    const values = ZOO.map(([, ...each]) => each[row % each.length]);
    statements.push(`INSERT INTO zoo VALUES (${firstId + row + 1}, ${values.join(', ')})`);
  }
  return statements;
}

function slotOf(name: string): Record<string, unknown> {
  return { method: 'CDC', replication_slot: name, publication: name, create: true };
}

export async function postgresSubject(): Promise<SourceSubject> {
  const server = await postgresContext();
  return {
    server,
    source,
    namespace: 'public',
    zoo: {
      table: [
        `CREATE TABLE zoo (id int PRIMARY KEY, ${ZOO.map(([type], i) => `c${i} ${type}`).join(', ')})`,
      ],
      rows,
    },
    lostLog: 'SRC_SLOT_MISSING',
    config: (name) => configOf(server, { replication_method: slotOf(name) }),
    async session() {
      const client = await sqlClient(server);
      return {
        async run(...statements) {
          let found: Record<string, unknown>[] = [];
          for (const statement of statements) found = (await client.query(statement)).rows;
          return found;
        },
        close: () => client.end(),
      };
    },
    async loseLog(sql, config) {
      const { replication_slot: slot } = config['replication_method'] as Record<string, string>;
      await sql.run(`SELECT pg_drop_replication_slot('${slot}')`);
    },
  };
}
