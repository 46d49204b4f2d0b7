import { jsonSchemaOf } from '../../../schemas/catalog/json-schema.ts';
import type { DiscoveredStream, Source } from '../../spi/source.ts';
import { isTransactional, tablesOfDatabase, type TableFacts } from './catalog.ts';
import { check, engineWarning } from './check.ts';
import { textPlan } from './column-types.ts';
import { parseConfig } from './config.ts';
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

function discovered(table: TableFacts, capture: boolean): DiscoveredStream {
  const names = table.columns.map((column) => column.name);
  const schema = schemaOf(table.stream, table.key, names, table.columns.map(textPlan));
  return {
    stream: table.stream,
    jsonSchema: jsonSchemaOf(schema),
    primaryKey: table.key,
    supportedSyncModes: ['full_refresh', 'incremental'],
    sourceDefinedCursor: capture,
    cursors: [],
    ...(capture && !isTransactional(table) ? { warning: engineWarning(table) } : {}),
  };
}

/** MySQL and MariaDB by their binary log: change events from the log, snapshots by a consistent view. */
export const source: Source = {
  spec,
  check,
  discover: (raw) =>
    withSession(raw, async (sql) => {
      const { database, capture } = parseConfig(raw);
      return (await tablesOfDatabase(sql, database)).map((table) => discovered(table, capture));
    }),
  hasLog: (config) => parseConfig(config).capture,
  open: openReader,
  currentPosition: (raw) =>
    withSession(raw, async (sql) => placeText((await logStatus((text) => sql.query(text))).place)),
  // The server keeps nothing for us.
  release: () => Promise.resolve(),
};
