import { jsonSchemaOf } from '../../../schemas/catalog/json-schema.ts';
import type { DiscoveredStream, Source } from '../../spi/source.ts';
import { hasIdentity, tablesOfSchemas, type TableFacts } from './catalog.ts';
import { check, cursorWarning, identityWarning } from './check.ts';
import { TypeRegistry } from './column-types.ts';
import { parseConfig } from './config.ts';
import { cursorColumns } from './cursor.ts';
import { sqlStateOf } from './errors.ts';
import { openJobReader } from './job-read.ts';
import { lsnOfServer, lsnText } from './position.ts';
import { readPublications } from './publication.ts';
import { openReader } from './reader.ts';
import { quoteIdentifier, SideSession } from './session.ts';
import { dropSlot } from './slot.ts';
import { spec } from './spec.ts';
import { indexedColumns } from './table-order.ts';

async function withSession<T>(
  raw: Record<string, unknown>,
  purpose: string,
  work: (sql: SideSession) => Promise<T>,
): Promise<T> {
  const sql = new SideSession(parseConfig(raw), purpose);
  try {
    return await work(sql);
  } finally {
    await sql.close();
  }
}

async function discover(raw: Record<string, unknown>): Promise<DiscoveredStream[]> {
  const config = parseConfig(raw);
  return withSession(raw, 'discover', async (sql) => {
    const types = new TypeRegistry(sql);
    const streams: DiscoveredStream[] = [];
    for (const table of await tablesOfSchemas(sql, config.schemas)) {
      streams.push(await discovered(sql, table, types, config.capture !== null));
    }
    return streams;
  });
}

async function discovered(
  sql: SideSession,
  table: TableFacts,
  types: TypeRegistry,
  capture: boolean,
): Promise<DiscoveredStream> {
  const resolved = await types.resolve(table.columns);
  const columns = table.columns.map((column, index) => ({
    name: column.name,
    type: (resolved[index] as (typeof resolved)[number]).type,
    inKey: table.key.includes(column.name),
  }));
  const common = {
    stream: table.stream,
    jsonSchema: jsonSchemaOf({ columns }),
    primaryKey: table.key,
    sourceDefinedCursor: capture,
  };
  if (capture) {
    return {
      ...common,
      supportedSyncModes: ['full_refresh', 'incremental'],
      cursors: [],
      ...(hasIdentity(table) ? {} : { warning: identityWarning(table) }),
    };
  }
  const { cursors, defaultCursor } = cursorColumns(columns);
  const warning = cursorWarning(table, cursors, defaultCursor, await indexedColumns(sql, table));
  return {
    ...common,
    supportedSyncModes: cursors.length > 0 ? ['full_refresh', 'incremental'] : ['full_refresh'],
    cursors,
    ...(defaultCursor === undefined ? {} : { defaultCursor }),
    ...(warning === null ? {} : { warning }),
  };
}

/**
 * A message in the log marks the present: its position is a record's end, which a reader reaches even
 * on a server where nothing else happens, and its commit flushes everything before it.
 */
async function currentPosition(raw: Record<string, unknown>): Promise<string> {
  return withSession(raw, 'position', async (sql) => {
    try {
      const [row] = await sql.query(`SELECT pg_logical_emit_message(true, 'headrace', '') AS lsn`);
      return lsnText(lsnOfServer(String(row?.['lsn'])));
    } catch (error) {
      // A standby writes nothing, and a role may not be let to: then the end of the log it is.
      const state = sqlStateOf((error as Error).cause);
      if (state !== '25006' && state !== '55000' && state !== '42501') throw error;
      const [row] = await sql.query(
        `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
           ELSE pg_current_wal_flush_lsn() END AS lsn`,
      );
      return lsnText(lsnOfServer(String(row?.['lsn'])));
    }
  });
}

async function release(raw: Record<string, unknown>): Promise<void> {
  const { capture } = parseConfig(raw);
  // Without a log to follow the server keeps nothing for us.
  if (capture === null) return;
  await withSession(raw, 'release', async (sql) => {
    await dropSlot(sql, capture.slot);
    for (const publication of (await readPublications(sql, capture)).values()) {
      if (!publication.createdByUs) continue;
      await sql.query(`DROP PUBLICATION IF EXISTS ${quoteIdentifier(publication.name)}`);
    }
  });
}

/** Postgres by logical replication: change events from the log, snapshots by COPY; by queries for a
 * job where there is no log to follow. */
export const source: Source = {
  spec,
  check,
  discover,
  hasLog: (config) => parseConfig(config).capture !== null,
  open: openReader,
  read: openJobReader,
  currentPosition,
  release: ({ config }) => release(config),
};
