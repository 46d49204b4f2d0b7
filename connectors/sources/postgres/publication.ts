import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import { hasIdentity, type TableFacts } from './catalog.ts';
import type { CaptureConfig } from './config.ts';
import { quoteIdentifier, quoteLiteral, type SideSession } from './session.ts';

/** Written on publications that we created, so that only those are ever dropped by us. */
const CREATED_BY = 'created by headrace';

export interface PublicationFacts {
  readonly name: string;
  readonly actions: { insert: boolean; update: boolean; delete: boolean; truncate: boolean };
  readonly createdByUs: boolean;
}

export interface PublishedTable {
  /** Object ids of its entries. Taken out and put back it has others, and what was written in between
   * never comes: PostgreSQL 18 even passes over a publication that is missing. */
  readonly entries: readonly string[];
  /** A row filter or a column list, which would leave rows or columns out without a word. */
  readonly narrowed: boolean;
}

export async function readPublications(
  sql: SideSession,
  capture: CaptureConfig,
): Promise<Map<string, PublicationFacts>> {
  const rows = await sql.query(
    `SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate,
       obj_description(oid, 'pg_publication') AS comment
     FROM pg_publication WHERE pubname = ANY($1)`,
    [[capture.publication, capture.insertsPublication]],
  );
  return new Map(
    rows.map((row) => {
      const name = String(row['pubname']);
      const actions = {
        insert: row['pubinsert'] === 't',
        update: row['pubupdate'] === 't',
        delete: row['pubdelete'] === 't',
        truncate: row['pubtruncate'] === 't',
      };
      return [name, { name, actions, createdByUs: row['comment'] === CREATED_BY }] as const;
    }),
  );
}

export async function publishedTables(
  sql: SideSession,
  capture: CaptureConfig,
): Promise<Map<string, PublishedTable>> {
  const [version] = await sql.query('SHOW server_version_num');
  const narrowed =
    Number(version?.['server_version_num']) >= 150000
      ? `bool_or(r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)`
      : 'false';
  const rows = await sql.query(
    `SELECT t.schemaname, t.tablename, json_agg(p.oid || ':' || coalesce(r.oid, 0))::text AS entries,
       coalesce(${narrowed}, false) AS narrowed
     FROM pg_publication_tables t
     JOIN pg_publication p ON p.pubname = t.pubname
     JOIN pg_namespace n ON n.nspname = t.schemaname
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
     LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
     WHERE t.pubname = ANY($1) GROUP BY 1, 2`,
    [[capture.publication, capture.insertsPublication]],
  );
  return new Map(
    rows.map((row) => [
      `${String(row['schemaname'])}.${String(row['tablename'])}`,
      {
        entries: JSON.parse(String(row['entries'])) as string[],
        narrowed: row['narrowed'] === 't',
      },
    ]),
  );
}

function tableList(tables: readonly TableFacts[]): string {
  return tables
    .map((table) => {
      const name = `${quoteIdentifier(table.stream.namespace)}.${quoteIdentifier(table.stream.name)}`;
      return table.partitioned ? name : `ONLY ${name}`;
    })
    .join(', ');
}

export function createStatement(
  capture: CaptureConfig,
  name: string,
  tables: readonly TableFacts[],
): string {
  const list = tables.length === 0 ? '' : ` FOR TABLE ${tableList(tables)}`;
  const publish = name === capture.insertsPublication ? `, publish = 'insert, truncate'` : '';
  return `CREATE PUBLICATION ${quoteIdentifier(name)}${list} WITH (publish_via_partition_root = true${publish})`;
}

export function addStatement(name: string, tables: readonly TableFacts[]): string {
  return `ALTER PUBLICATION ${quoteIdentifier(name)} ADD TABLE ${tableList(tables)}`;
}

/** Tables that a publication of others leaves out, by label: they alone cannot be read. A publication
 * that does not exist is the whole source's failure (`ensurePublished`). */
export async function unpublishable(
  sql: SideSession,
  capture: CaptureConfig,
  tables: readonly TableFacts[],
): Promise<Map<string, PipelineError>> {
  const failures = new Map<string, PipelineError>();
  if (capture.create || tables.length === 0) return failures;
  const found = await readPublications(sql, capture);
  if (!found.has(capture.publication)) return failures;
  const published = await publishedTables(sql, capture);
  for (const table of tables) {
    const statements = missingStatements(capture, found, published, [table]);
    const label = streamLabel(table.stream);
    if (statements.length > 0) failures.set(label, publicationMissing(statements, label));
  }
  return failures;
}

/** Where a table belongs: one without a replica identity must not be in a publication of updates, or
 * the application's own UPDATE and DELETE fail. */
export function publicationFor(capture: CaptureConfig, table: TableFacts): string {
  return hasIdentity(table) ? capture.publication : capture.insertsPublication;
}

/** Statements that are missing for these tables to be published. */
export function missingStatements(
  capture: CaptureConfig,
  found: ReadonlyMap<string, PublicationFacts>,
  published: ReadonlyMap<string, PublishedTable>,
  tables: readonly TableFacts[],
): string[] {
  const statements: string[] = [];
  for (const name of [capture.publication, capture.insertsPublication]) {
    const missing = tables.filter(
      (table) =>
        publicationFor(capture, table) === name && !published.has(streamLabel(table.stream)),
    );
    if (found.has(name)) {
      if (missing.length > 0) statements.push(addStatement(name, missing));
    } else if (missing.length > 0 || name === capture.publication) {
      statements.push(createStatement(capture, name, missing));
    }
  }
  return statements;
}

/**
 * Makes sure that new streams are published, before the slot's start point is fixed: a publication
 * younger than that point is unknown to the decoder for ever. Both publications are made at once on
 * the first start, for the second could not be added to a running slot later.
 */
export async function ensurePublished(
  sql: SideSession,
  capture: CaptureConfig,
  tables: readonly TableFacts[],
  firstStart: boolean,
): Promise<void> {
  const found = await readPublications(sql, capture);
  const published = await publishedTables(sql, capture);
  if (!capture.create) {
    const statements = missingStatements(capture, found, published, tables);
    if (statements.length > 0) throw publicationMissing(statements);
    return;
  }
  for (const name of [capture.publication, capture.insertsPublication]) {
    const mine = tables.filter(
      (table) =>
        publicationFor(capture, table) === name && !published.has(streamLabel(table.stream)),
    );
    if (found.has(name)) {
      if (mine.length > 0) await sql.query(addStatement(name, mine));
    } else if (firstStart) {
      await sql.query(createStatement(capture, name, mine));
      await sql.query(
        `COMMENT ON PUBLICATION ${quoteIdentifier(name)} IS ${quoteLiteral(CREATED_BY)}`,
      );
    } else if (mine.length > 0) {
      throw publicationMissing([createStatement(capture, name, mine)]);
    }
  }
}

export function publicationMissing(statements: readonly string[], label?: string): PipelineError {
  const what = label === undefined ? 'not published' : `table ${label} is not published`;
  return new PipelineError(
    'SRC_PUBLICATION_MISSING',
    `${what}; run: ${statements.join('; ')}`,
    label === undefined ? {} : { details: { stream: label } },
  );
}

export function missingActions(facts: PublicationFacts): string[] {
  return Object.entries(facts.actions)
    .filter(([, on]) => !on)
    .map(([action]) => action);
}
