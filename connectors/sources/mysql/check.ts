import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { indexWarning, type CursorChoice } from '../../capture/cursor-columns.ts';
import type { CheckResult } from '../../spi/connector.ts';
import {
  cascadedTables,
  indexedColumns,
  isTransactional,
  tablesOfDatabase,
  type TableFacts,
} from './catalog.ts';
import { parseConfig, type MysqlSourceConfig } from './config.ts';
import { cursorColumns } from './cursor.ts';
import {
  logsCascades,
  logStatus,
  missingSettings,
  readServer,
  serverTraits,
  type ServerFacts,
} from './server.ts';
import { quoteIdentifier, SideSession } from './session.ts';
import { fromTable } from './text-rows.ts';

interface Findings {
  readonly failures: string[];
  readonly warnings: string[];
}

const SHORT_RETENTION_S = 24 * 3600;

/** Looks at everything that a capture will need; each failed point comes with what mends it. */
export async function check(raw: Record<string, unknown>): Promise<CheckResult> {
  const found: Findings = { failures: [], warnings: [] };
  let sql: SideSession | null = null;
  try {
    const config = parseConfig(raw);
    sql = new SideSession(config);
    const tables = await tablesOfDatabase(sql, config.database);
    await checkSelect(sql, config, tables, found);
    if (config.capture) await checkCapture(sql, config.database, tables, found);
    else await checkCursors(sql, config.database, tables, found);
  } catch (error) {
    found.failures.push(sentence(toPipelineError(error)));
  } finally {
    await sql?.close();
  }
  const ok = found.failures.length === 0;
  const message = ok ? 'Connection succeeded.' : found.failures.join('\n');
  return found.warnings.length === 0 ? { ok, message } : { ok, message, warnings: found.warnings };
}

function sentence(error: PipelineError): string {
  return `${error.code}: ${error.message}. ${error.spec.fix}`;
}

/** The catalog shows a table to whoever has any right on it. */
async function checkSelect(
  sql: SideSession,
  { database }: MysqlSourceConfig,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const unreadable: TableFacts[] = [];
  for (const table of tables) {
    try {
      await sql.query(`SELECT 1 FROM ${fromTable(table)} LIMIT 0`);
    } catch (error) {
      const { code, message } = error as PipelineError;
      if (code === 'SRC_PRIVILEGE') unreadable.push(table);
      else found.warnings.push(`${streamLabel(table.stream)} cannot be read now: ${message}`);
    }
  }
  if (tables.length === 0) {
    found.warnings.push(
      `${database} has no table that the user may see; run: ${grantSelect(`${quoteIdentifier(database)}.*`)}`,
    );
  }
  for (const table of unreadable) {
    const message = `SELECT is missing on ${streamLabel(table.stream)}; run: ${grantSelect(fromTable(table))}`;
    const isAll = unreadable.length === tables.length;
    (isAll ? found.failures : found.warnings).push(message);
  }
}

function grantSelect(on: string): string {
  return `GRANT SELECT ON ${on} TO <the user>`;
}

/** Where streams are read by a cursor: without an index every read looks at every row. */
async function checkCursors(
  sql: SideSession,
  database: string,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const indexed = await indexedColumns(sql, database);
  for (const table of tables) {
    const warning = cursorWarning(table, cursorColumns(table), indexed);
    if (warning !== null) found.warnings.push(warning);
  }
}

/** Null where an incremental read finds an index. */
export function cursorWarning(
  table: TableFacts,
  choice: CursorChoice,
  indexed: ReadonlyMap<string, ReadonlySet<string>>,
): string | null {
  return indexWarning(
    streamLabel(table.stream),
    choice,
    indexed.get(table.stream.name) ?? new Set(),
    (column) =>
      `CREATE INDEX ${quoteIdentifier(`by_${column}`)} ON ${fromTable(table)} (${quoteIdentifier(column)})`,
  );
}

async function checkCapture(
  sql: SideSession,
  database: string,
  tables: readonly TableFacts[],
  found: Findings,
): Promise<void> {
  const server = await readServer(sql);
  found.failures.push(...missingSettings(server));
  await checkRights(sql, database, server, found);
  warnOfServer(server, found);
  if (!logsCascades(server)) {
    for (const child of await cascadedTables(sql, database)) {
      found.warnings.push(
        `${database}.${child} is changed by a foreign key's ON DELETE or ON UPDATE: such changes are not in the log, and its rows stay as they were`,
      );
    }
  }
  for (const table of tables) {
    if (!isTransactional(table)) found.warnings.push(engineWarning(table));
    if (table.key.length === 0)
      found.warnings.push(`${streamLabel(table.stream)} has no primary key`);
  }
}

export function engineWarning(table: TableFacts): string {
  const name = streamLabel(table.stream);
  return `${name} cannot be copied consistently; run: ALTER TABLE ${name} ENGINE = InnoDB`;
}

async function checkRights(
  sql: SideSession,
  database: string,
  server: ServerFacts,
  found: Findings,
): Promise<void> {
  const rows = await sql.query('SHOW GRANTS');
  const granted = rows.map((row) => String(Object.values(row)[0])).join('\n');
  const global = granted
    .split('\n')
    .filter((line) => / ON \*\.\* TO /.test(line))
    .join('\n');
  const has = (right: RegExp): boolean => /ALL PRIVILEGES/.test(global) || right.test(global);
  if (!has(/REPLICATION SLAVE\b(?! ADMIN)|REPLICATION REPLICA\b(?! ADMIN)/)) {
    found.failures.push(
      'the user may not read the binary log; run: GRANT REPLICATION SLAVE ON *.* TO <the user>',
    );
  }
  try {
    if (server.variables['log_bin'] === 'ON') await logStatus((text) => sql.query(text));
  } catch {
    const right = server.mariadb ? 'BINLOG MONITOR' : 'REPLICATION CLIENT';
    found.failures.push(
      `the user may not ask where the log stands; run: GRANT ${right} ON *.* TO <the user>`,
    );
  }
  if (server.mariadb) return;
  const [xa] = await sql.query(`SHOW GLOBAL STATUS LIKE 'Com_xa_prepare'`);
  if (!has(/XA_RECOVER_ADMIN/) && Number(xa?.['Value'] ?? 0) > 0) {
    found.warnings.push(
      'the server has XA transactions, and one that is prepared before the first copy and committed after it stops the streams; run: GRANT XA_RECOVER_ADMIN ON *.* TO <the user>',
    );
  }
  if (serverTraits(server).gtids) return;
  checkLock(granted, database, has(/\bRELOAD\b/), found);
}

/** Without GTIDs the first copy on MySQL begins under a lock. */
function checkLock(granted: string, database: string, reload: boolean, found: Findings): void {
  if (reload) {
    found.warnings.push(
      'gtid_mode is not ON: when the first copy begins, FLUSH TABLES WITH READ LOCK is held for some milliseconds',
    );
    return;
  }
  const places = ['*.*', `${quoteIdentifier(database)}.*`];
  const lock = granted.split('\n').some((line) => {
    const [what = '', on = ''] = line.split(' ON ');
    const here = places.some((place) => on.startsWith(`${place} TO `));
    return here && /LOCK TABLES|ALL PRIVILEGES/.test(what);
  });
  if (lock) {
    found.warnings.push(
      'gtid_mode is not ON, and the user has no RELOAD: when the first copy begins, its tables are locked by LOCK TABLES for some milliseconds',
    );
    return;
  }
  found.failures.push(
    `the first copy needs gtid_mode = ON, or a lock of some milliseconds; run: GRANT LOCK TABLES ON ${quoteIdentifier(database)}.* TO <the user>`,
  );
}

function warnOfServer(server: ServerFacts, found: Findings): void {
  const { variables } = server;
  const kept = Number(variables['binlog_expire_logs_seconds'] ?? 0);
  if (kept > 0 && kept < SHORT_RETENTION_S) {
    found.warnings.push(
      `the log is kept for ${kept} s only; run: SET GLOBAL binlog_expire_logs_seconds = 259200`,
    );
  }
  if (!/^FULL/.test(variables['binlog_row_image'] ?? '')) {
    found.warnings.push(
      `binlog_row_image is ${variables['binlog_row_image']}: a change of a key stops its stream, and cells that did not change are not sent; run: SET GLOBAL binlog_row_image = 'FULL'`,
    );
  }
  if (!serverTraits(server).namesColumns) {
    found.warnings.push(
      `binlog_row_metadata is ${variables['binlog_row_metadata']}: the log does not name columns, and a table that is changed twice while Headrace is behind stops; run: SET GLOBAL binlog_row_metadata = 'FULL'`,
    );
  }
  if (variables['sync_binlog'] !== '1') {
    found.warnings.push(
      'after a crash of the machine the log may lack commits; run: SET GLOBAL sync_binlog = 1',
    );
  }
  if (!server.mariadb && variables['gtid_mode'] !== 'ON') {
    found.warnings.push('gtid_mode is not ON: a restored server is told by its log alone');
  }
}
