import { jsonSchemaOf } from '../../../schemas/catalog/json-schema.ts';
import { readByCursor } from '../../capture/cursor-columns.ts';
import type { DiscoveredStream, Source } from '../../spi/source.ts';
import { indexedColumns, isTransactional, tablesOfDatabase, type TableFacts } from './catalog.ts';
import { check, cursorWarning, engineWarning } from './check.ts';
import { textPlan } from './column-types.ts';
import { openSourceTable } from './compared-table.ts';
import { parseConfig } from './config.ts';
import { cursorColumns } from './cursor.ts';
import { openJobReader } from './job-read.ts';
import { placeText } from './position.ts';
import { openReader } from './reader.ts';
import { logStatus } from './server.ts';
import { SideSession } from './session.ts';
import { schemaOf } from './shapes.ts';
import { spec } from './spec.ts';

async function withSession<T>(
  raw: Record<string, unknown>,
  work: (sql: SideSession) => Promise<T>,
): Promise<T> {
  const sql = new SideSession(parseConfig(raw));
  try {
    return await work(sql);
  } finally {
    await sql.close();
  }
}

async function discover(raw: Record<string, unknown>): Promise<DiscoveredStream[]> {
  const { database, capture } = parseConfig(raw);
  return withSession(raw, async (sql) => {
    const tables = await tablesOfDatabase(sql, database);
    if (capture) return tables.map((table) => ({ ...described(table), ...captured(table) }));
    const indexed = await indexedColumns(sql, database);
    return tables.map((table) => {
      const choice = cursorColumns(table);
      const warning = cursorWarning(table, choice, indexed);
      return { ...described(table), sourceDefinedCursor: false, ...readByCursor(choice, warning) };
    });
  });
}

function described(
  table: TableFacts,
): Pick<DiscoveredStream, 'stream' | 'jsonSchema' | 'primaryKey'> {
  const names = table.columns.map((column) => column.name);
  const schema = schemaOf(table.stream, table.key, names, table.columns.map(textPlan));
  return { stream: table.stream, jsonSchema: jsonSchemaOf(schema), primaryKey: table.key };
}

function captured(
  table: TableFacts,
): Omit<DiscoveredStream, 'stream' | 'jsonSchema' | 'primaryKey'> {
  return {
    supportedSyncModes: ['full_refresh', 'incremental'],
    sourceDefinedCursor: true,
    cursors: [],
    ...(isTransactional(table) ? {} : { warning: engineWarning(table) }),
  };
}

/** MySQL and MariaDB by their binary log: change events from the log, snapshots by a consistent view; by
 * queries for a job where there is no log to follow. */
export const source: Source = {
  spec,
  check,
  discover,
  hasLog: (config) => parseConfig(config).capture,
  open: openReader,
  read: openJobReader,
  currentPosition: (raw) =>
    withSession(raw, async (sql) => placeText((await logStatus((text) => sql.query(text))).place)),
  // The server keeps nothing for us.
  release: () => Promise.resolve(),
  openTable: openSourceTable,
};
