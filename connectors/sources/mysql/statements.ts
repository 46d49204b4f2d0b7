import { xidOf } from './binlog-events.ts';

/** What the text of a logged statement does to tables; rows do not come this way. */
export type TableEffect =
  | { readonly effect: 'truncate' | 'drop' | 'partition'; readonly table: string }
  | { readonly effect: 'rename'; readonly table: string; readonly to: string }
  | { readonly effect: 'dropDatabase'; readonly database: string };

const IDENT = '(?:`(?:``|[^`])+`|"(?:""|[^"])+"|[^\\s.,;`"()=]+)';
const NAME = `${IDENT}(?:\\s*\\.\\s*${IDENT})?`;

function plain(identifier: string): string {
  const quote = identifier[0];
  if (quote !== '`' && quote !== '"') return identifier;
  return identifier.slice(1, -1).replaceAll(quote + quote, quote);
}

/** `database.table` of a name, in the statement's default database. */
function label(name: string, database: string): string {
  const parts = [...name.matchAll(new RegExp(IDENT, 'g'))].map(([part]) => plain(part));
  return parts.length === 2 ? `${parts[0]}.${parts[1]}` : `${database}.${parts[0]}`;
}

export function bareStatement(text: string): string {
  return text.replace(/^(\s|\/\*(?!!|M!)[\s\S]*?\*\/|(--\s|#).*\n)+/, '');
}

const matcher = (pattern: string): RegExp => new RegExp(pattern, 'i');
const TRUNCATE = matcher(`^TRUNCATE\\s+(?:TABLE\\s+)?(${NAME})`);
const DROP = matcher(`^DROP\\s+TABLE\\s+(?:IF\\s+EXISTS\\s+)?(${NAME}(?:\\s*,\\s*${NAME})*)`);
const REPLACE = matcher(`^CREATE\\s+OR\\s+REPLACE\\s+TABLE\\s+(${NAME})`);
const DROP_DATABASE = matcher(`^DROP\\s+(?:DATABASE|SCHEMA)\\s+(?:IF\\s+EXISTS\\s+)?(${IDENT})`);
const RENAME = /^RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?/i;
const PAIR = new RegExp(`(${NAME})\\s+(?:(?:NO)?WAIT\\s+\\d*\\s*)?TO\\s+(${NAME})`, 'gi');
const ALTER = matcher(
  `^ALTER\\s+(?:ONLINE\\s+|IGNORE\\s+)*TABLE\\s+(?:IF\\s+EXISTS\\s+)?(${NAME})\\s+([\\s\\S]*)`,
);
const ALTER_RENAME = matcher(
  `(?:^|,)\\s*RENAME\\s+(?:TO\\s+|AS\\s+|=\\s*)?(?!COLUMN\\b|INDEX\\b|KEY\\b)(${NAME})`,
);
const PARTITION = /\b(?:TRUNCATE|DROP|EXCHANGE|CONVERT)\s+PARTITION\b/i;

export function tableEffects(statement: string, database: string): TableEffect[] {
  const truncated = TRUNCATE.exec(statement);
  if (truncated !== null) {
    return [{ effect: 'truncate', table: label(truncated[1] as string, database) }];
  }
  const dropped = DROP.exec(statement) ?? REPLACE.exec(statement);
  if (dropped !== null) {
    return [...(dropped[1] as string).matchAll(new RegExp(NAME, 'g'))].map(([name]) => ({
      effect: 'drop',
      table: label(name, database),
    }));
  }
  const gone = DROP_DATABASE.exec(statement);
  if (gone !== null) return [{ effect: 'dropDatabase', database: plain(gone[1] as string) }];
  const rename = RENAME.exec(statement);
  if (rename !== null) {
    return [...statement.slice(rename[0].length).matchAll(PAIR)].map((pair) => ({
      effect: 'rename',
      table: label(pair[1] as string, database),
      to: label(pair[2] as string, database),
    }));
  }
  return alterEffects(statement, database);
}

function alterEffects(statement: string, database: string): TableEffect[] {
  const alter = ALTER.exec(statement);
  if (alter === null) return [];
  const table = label(alter[1] as string, database);
  const change = alter[2] as string;
  const renamed = ALTER_RENAME.exec(change);
  if (renamed !== null) {
    return [{ effect: 'rename', table, to: label(renamed[1] as string, database) }];
  }
  return PARTITION.test(change) ? [{ effect: 'partition', table }] : [];
}

/** Tables that are no longer what they were once all renames of a statement are done: a swap as
 * online schema changes do it leaves a table under the old name. */
export function renamedAway(effects: readonly TableEffect[]): string[] {
  const away = new Set<string>();
  for (const each of effects) {
    if (each.effect !== 'rename') continue;
    away.add(each.table);
    away.delete(each.to);
  }
  return [...away];
}

const XA_DECISION = /^XA\s+(COMMIT|ROLLBACK)\s+X'([0-9a-f]*)',\s*X'([0-9a-f]*)',\s*(-?\d+)/i;

/** What becomes of an XA transaction that was prepared before; null for any other statement. */
export function xaDecision(text: string): { commits: boolean; xid: string } | null {
  const found = XA_DECISION.exec(text);
  if (found === null) return null;
  const [, what = '', global = '', branch = '', format = ''] = found;
  return { commits: /^commit$/i.test(what), xid: xidOf(global, branch, format) };
}

const CHANGES_ROWS = /^(INSERT|UPDATE|DELETE|REPLACE|LOAD|WITH)\b/i;

/** Whether a statement that was logged as text may have changed rows of this table. */
export function mayChangeRows(
  statement: string,
  database: string,
  stream: { readonly namespace: string; readonly name: string },
): boolean {
  return CHANGES_ROWS.test(statement) && names(statement, database, stream);
}

const CHANGES_SHAPE =
  /^(ALTER|CREATE|DROP|RENAME)\b(?!\s+(USER|ROLE|SERVER|FUNCTION|PROCEDURE|EVENT)\b)/i;

/** Whether a logged statement may have changed the columns or the key of this table, or of any. Which
 * tables it names is not parsed: one too many costs a look at the catalog. */
export function mayChangeShape(
  statement: string,
  database: string | null,
  stream: { readonly namespace: string; readonly name: string } | null,
): boolean {
  if (!CHANGES_SHAPE.test(statement)) return false;
  return stream === null || names(statement, database ?? '', stream);
}

function names(
  statement: string,
  database: string,
  stream: { readonly namespace: string; readonly name: string },
): boolean {
  const text = statement.toLowerCase();
  if (!text.includes(stream.name.replaceAll('`', '``').toLowerCase())) return false;
  return database === stream.namespace || text.includes(stream.namespace.toLowerCase());
}
