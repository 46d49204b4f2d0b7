import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ServerIdentity } from './capture-state.ts';
import type { CaptureConfig } from './config.ts';
import { lsnForServer, type PostgresDetails } from './position.ts';
import {
  createStatement,
  missingActions,
  publicationMissing,
  readPublications,
} from './publication.ts';
import { quoteIdentifier, type SideSession } from './session.ts';
import { readSlot, type SlotFacts } from './slot.ts';

/**
 * Whether the log can be continued from the stored position without a gap. The server itself says
 * nothing when it cannot: a slot re-created under the same name, a position beyond the end of the log
 * or another server behind the same address all stream happily from wherever they are.
 */
export async function checkContinuity(
  sql: SideSession,
  capture: CaptureConfig,
  identity: ServerIdentity,
  details: PostgresDetails,
  position: bigint,
): Promise<SlotFacts> {
  checkNames(capture, details);
  const slot = await readSlot(sql, capture.slot);
  checkIdentity(identity, details, slot);
  if (slot === null) {
    throw new PipelineError(
      'SRC_SLOT_MISSING',
      `replication slot ${capture.slot} does not exist any more`,
      { details: { slot: capture.slot } },
    );
  }
  checkSlot(capture.slot, slot, position);
  await checkLogReaches(sql, position);
  await checkPublication(sql, capture);
  return slot;
}

function checkNames(capture: CaptureConfig, details: PostgresDetails): void {
  if (capture.slot === details.slot && capture.publication === details.publication) return;
  throw new PipelineError(
    'SRC_IDENTITY_CHANGED',
    `the position belongs to slot ${details.slot} and publication ${details.publication}`,
    { details: { slot: details.slot, publication: details.publication } },
  );
}

function checkIdentity(
  identity: ServerIdentity,
  details: PostgresDetails,
  slot: SlotFacts | null,
): void {
  if (identity.systemId !== details.systemId) {
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      `this is another server: system identifier ${identity.systemId}, not ${details.systemId}`,
    );
  }
  // A failover slot carries on over a promotion; what it then sends is compared with the anchor.
  if (identity.timeline === details.timeline || slot?.failover === true) return;
  throw new PipelineError(
    'SRC_IDENTITY_CHANGED',
    `the server changed from timeline ${details.timeline} to ${identity.timeline}: it was promoted or restored`,
    { details: { timeline: identity.timeline } },
  );
}

export function checkSlot(name: string, slot: SlotFacts, position: bigint | null): void {
  const details = { slot: name };
  if (slot.lost) {
    throw new PipelineError(
      'SRC_SLOT_LOST',
      `replication slot ${name} was invalidated: the server removed log that it needed`,
      { details },
    );
  }
  if (slot.plugin !== 'pgoutput') {
    throw new PipelineError(
      'SRC_SLOT_MISSING',
      `replication slot ${name} uses ${slot.plugin}, not pgoutput`,
      { details },
    );
  }
  if (position === null || slot.confirmed === null || slot.confirmed <= position) return;
  throw new PipelineError(
    'SRC_SLOT_AHEAD',
    `replication slot ${name} stands at ${lsnForServer(slot.confirmed)}, past our position ` +
      `${lsnForServer(position)}: somebody re-created or advanced it`,
    { details },
  );
}

async function checkLogReaches(sql: SideSession, position: bigint): Promise<void> {
  const [row] = await sql.query(
    `SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
       ELSE pg_current_wal_insert_lsn() END, $1::pg_lsn) >= 0 AS reached`,
    [lsnForServer(position)],
  );
  if (row?.['reached'] === 't') return;
  throw new PipelineError(
    'SRC_POSITION_AHEAD',
    `our position ${lsnForServer(position)} lies beyond the end of the server's log: it was restored from an older copy`,
    { details: { position: lsnForServer(position) } },
  );
}

async function checkPublication(sql: SideSession, capture: CaptureConfig): Promise<void> {
  const found = await readPublications(sql, capture);
  const main = found.get(capture.publication);
  if (main === undefined) {
    throw publicationMissing([createStatement(capture, capture.publication, [])]);
  }
  const missing = missingActions(main);
  if (missing.length > 0) {
    throw publicationMissing([
      `ALTER PUBLICATION ${quoteIdentifier(main.name)} SET (publish = 'insert, update, delete, truncate')`,
    ]);
  }
}
