import { jsonSchemaOf } from '../../../schemas/catalog/json-schema.ts';
import { readByCursor } from '../../capture/cursor-columns.ts';
import type { DiscoveredStream, Source } from '../../spi/source.ts';
import { hasIdentity, tablesOfSchemas, type TableFacts } from './catalog.ts';
import { check, cursorWarning, identityWarning } from './check.ts';
import { TypeRegistry } from './column-types.ts';
import { openSourceTable } from './compared-table.ts';
import { parseConfig } from './config.ts';
import { currentPosition } from './current-position.ts';
import { cursorColumns } from './cursor.ts';
import { openJobReader } from './job-read.ts';
import { readPublications } from './publication.ts';
import { openReader } from './reader.ts';
import { heldOnServer, retainedLog } from './retained-log.ts';
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
  const choice = cursorColumns(columns);
  const warning = cursorWarning(table, choice, await indexedColumns(sql, table));
  return { ...common, ...readByCursor(choice, warning) };
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

async function retainedLogBytes(raw: Record<string, unknown>): Promise<number | null> {
  const { capture } = parseConfig(raw);
  if (capture === null) return null;
  return withSession(raw, 'retained log', (sql) => retainedLog(sql, capture.slot));
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
  currentPosition: (config) => withSession(config, 'position', currentPosition),
  release: ({ config }) => release(config),
  openTable: openSourceTable,
  heldOnServer,
  retainedLogBytes,
};
