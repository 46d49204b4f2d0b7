import type { Database } from './database.ts';
import { initial } from './migrations/0001-initial.ts';
import { streamCopies } from './migrations/0002-stream-copies.ts';
import { jobAttempts } from './migrations/0003-job-attempts.ts';
import { access } from './migrations/0004-access.ts';
import { alerts } from './migrations/0005-alerts.ts';
import { operations } from './migrations/0006-operations.ts';
import { workspaces } from './migrations/0007-workspaces.ts';
import { streamReplays } from './migrations/0008-stream-replays.ts';
import { cleanupClaims } from './migrations/0009-cleanup-claims.ts';
import { schemaChanges } from './migrations/0010-schema-changes.ts';

/** In order; a migration that has been released is never edited. */
const MIGRATIONS: readonly string[] = [
  initial,
  streamCopies,
  jobAttempts,
  access,
  alerts,
  operations,
  workspaces,
  streamReplays,
  cleanupClaims,
  schemaChanges,
];

/** Any number that is ours: processes that start together apply each migration once. */
const ADVISORY_LOCK = 7_220_419;

/** Brings the store's tables to this program's version, all in one transaction. */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock($1)`, [ADVISORY_LOCK]);
    await tx.script(
      `CREATE SCHEMA IF NOT EXISTS headrace;
       CREATE TABLE IF NOT EXISTS headrace.migration (version int PRIMARY KEY)`,
    );
    const [row] = await tx.query<{ done: number }>(
      `SELECT coalesce(max(version), 0)::int AS done FROM headrace.migration`,
    );
    for (let version = (row?.done ?? 0) + 1; version <= MIGRATIONS.length; version++) {
      await tx.script(MIGRATIONS[version - 1] ?? '');
      await tx.query(`INSERT INTO headrace.migration VALUES ($1)`, [version]);
    }
  });
}
