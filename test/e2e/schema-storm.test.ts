import { join } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPublished } from '../integration/destinations/s3/published-reader.ts';
import { digest } from '../support/digest.ts';
import {
  BUCKET,
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';
import { Storm, type StormTable } from './schema-storm.ts';

// The whole storm, and others: STORM_STATEMENTS=200 STORM_SEED=2 vitest run --project e2e test/e2e/schema-storm.test.ts
const STATEMENTS = Number(process.env['STORM_STATEMENTS'] ?? 30);
const SEED = Number(process.env['STORM_SEED'] ?? 1);
const TABLES = Math.max(5, Math.floor(STATEMENTS / 16));

/** With these a stream may stand still after what no policy carries. */
const HONEST = [
  'SRC_TABLE_CHANGED',
  'SRC_NO_REPLICA_IDENTITY',
  'SCH_INCOMPATIBLE',
  'DST_SCHEMA_INCOMPATIBLE',
  'DST_KEY_MISMATCH',
];

describe(`a storm of ${STATEMENTS} DDL statements, seed ${SEED}`, () => {
  const storm = new Storm(SEED, TABLES);
  let rig: Rig;
  let lake: DuckDBConnection;
  const connections: string[] = [];

  beforeAll(async () => {
    rig = await startRig();
    for (const { name } of storm.tables) {
      await query(
        rig.source,
        `create table ${name} (key int primary key, c0 text);
         insert into ${name} select i, 'row ' || i from generate_series(1, 60) i`,
      );
    }
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinations = [
      await createDestination(rig, 'postgres', postgresConfig(rig.target)),
      await createDestination(rig, 's3', {
        s3_bucket_name: BUCKET,
        s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
        s3_bucket_region: 'us-east-1',
        s3_endpoint: `file://${rig.folder}`,
        format: { format_type: 'Parquet', compression_codec: 'SNAPPY' },
      }),
    ];
    for (const id of destinations) {
      connections.push(await createConnection(rig, sourceId, id, () => 'append_dedup'));
    }
    for (const id of connections) {
      expect(await sync(rig, id)).toMatchObject({ job: { status: 'succeeded' } });
    }
    lake = await (await DuckDBInstance.create()).connect();
  });
  afterAll(async () => {
    lake.closeSync();
    await rig[Symbol.asyncDispose]();
  });

  /** Streams that stand still, at either end of any connection, with their codes. */
  async function stopped(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const id of connections) {
      const { streams } = (await statusOf(rig, id)) as unknown as {
        streams: { name: string; error?: { code: string } }[];
      };
      for (const { name, error } of streams) if (error) found.set(name, error.code);
    }
    return found;
  }

  async function settle(): Promise<Map<string, string>> {
    for (const id of connections) await sync(rig, id);
    return stopped();
  }

  /** A copy is the source's, for all of its connections. */
  async function copyAnew(names: readonly string[]): Promise<void> {
    const { job } = await rig.api.quiet<{ job: { id: number } }>('connections/reset/stream', {
      connectionId: connections[0],
      streams: names.map((streamName) => ({ streamName, streamNamespace: 'public' })),
    });
    await until('the end of the copy', async () => {
      const now = await rig.api.quiet<{ job: { status: string } }>('jobs/get', { id: job.id });
      return ['succeeded', 'failed'].includes(now.job.status) ? true : null;
    });
  }

  async function expectEqual({ name, columns }: StormTable): Promise<void> {
    const names = ['key', ...columns.map((column) => column.name)];
    expect(await digest(rig.target, name, names), name).toEqual(
      await digest(rig.source, name, names),
    );
    const texts = names.map((each) => `"${each}"::text`).join(', ');
    const wanted = await query<Record<string, string | null>>(
      rig.source,
      `select json_build_array(${texts})::text as row from ${name} order by key`,
    );
    const found = await readPublished(
      lake,
      join(rig.folder, BUCKET),
      `data/${name}`,
      `select ${texts} from ROWS order by "key"`,
    );
    expect(found, name).toEqual(wanted.map(({ row }) => JSON.parse(row as string)));
  }

  /** Null when its copies are equal; else the code with which it stands still. A sync that fails for
   * one stream does not wait for the others. */
  async function endOf(table: StormTable): Promise<string | null> {
    let difference: unknown;
    const end = await until(`the end of ${table.name}`, async () => {
      const code = (await stopped()).get(table.name);
      if (code !== undefined) return { code };
      try {
        await expectEqual(table);
        return { code: null };
      } catch (error) {
        difference = error;
        // What is read is in the files then.
        for (const id of connections) await sync(rig, id);
        return null;
      }
    }).catch(async (error: unknown) => {
      const statuses = await Promise.all(connections.map((id) => statusOf(rig, id)));
      throw new Error(`${String(error)} ${JSON.stringify(statuses)}`, { cause: difference });
    });
    return end.code;
  }

  it('leaves each stream equal to its table, or stopped with the code that says why', async () => {
    const rows = await connectTo(rig.source);
    const ddl = await connectTo(rig.source);
    try {
      for (let i = 0; i < STATEMENTS; i++) {
        // Rows that nothing in the DDL is about come from a session of their own all the while.
        const load = rows.query(
          storm.tables
            .map(({ name }) => `insert into ${name} (key) values (${1000 + i})`)
            .join(';'),
        );
        await Promise.all([ddl.query(storm.next()), load]);
        for (const table of storm.tables) await ddl.query(storm.changes(table));
      }
    } finally {
      await Promise.all([rows.end(), ddl.end()]);
    }
    const first = await settle();
    for (const [name, code] of first) expect(HONEST, name).toContain(code);
    if (first.size > 0) await copyAnew([...first.keys()]);
    await settle();
    for (const table of storm.tables) {
      const code = await endOf(table);
      if (code === null) continue;
      expect(HONEST, table.name).toContain(code);
      expect(table.fate, `${table.name} stands still after what is carried: ${code}`).toBe(
        'perhaps',
      );
    }
  });
});
