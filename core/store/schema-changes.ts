import type { ConnectionDocument, ConfiguredStream } from './connection-document.ts';
import type { Database, Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { failureReason } from './failure-reason.ts';
import {
  describeTransform,
  fieldTransforms,
  propertiesOf,
  transformed,
  type FieldTransform,
} from './field-transforms.ts';
import { cancelOpenJob, endJob, noteInOpenJob } from './job-changes.ts';
import { isHeldToCatalog, schemaPolicyOf, type SchemaPolicy } from './schema-policy.ts';
import type { NamedStream } from './work.ts';

/** A difference as it is kept. `transforms` is empty where only the source's refusal is known. */
export interface SchemaChange extends NamedStream {
  readonly id: number;
  readonly connectionId: string;
  readonly jobId: number | null;
  readonly transforms: readonly FieldTransform[];
  readonly breaking: boolean;
  readonly message: string;
  /** Not in the connection's catalog. */
  readonly pending: boolean;
  readonly foundAt: number;
}

const COLUMNS = `id, connection_id AS "connectionId", job_id AS "jobId", namespace, name, transforms,
  breaking, message, pending, found_at AS "foundAt"`;

export const STREAM_ADDED = 'the stream was added';
export const STREAM_REMOVED = 'the stream was removed';

/** What was done about a change; part of its event. */
export type SchemaOutcome = 'propagated' | 'ignored' | 'disabled' | 'stopped';

interface NewChange {
  readonly connectionId: string;
  readonly stream: NamedStream;
  readonly transforms: readonly FieldTransform[];
  readonly breaking: boolean;
  readonly message: string;
  readonly outcome: SchemaOutcome;
  readonly policy: SchemaPolicy;
}

/** Differences between what a connection's catalog says and what its source sends. Whatever is done
 * about one is done in the transaction that notes it, so that it happens and is told of once. */
export class SchemaChanges {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** Those that are not in the catalog, of one connection. */
  pending(connectionId: string): Promise<SchemaChange[]> {
    return this.database.query<SchemaChange>(
      `SELECT ${COLUMNS} FROM headrace.schema_change WHERE connection_id = $1 AND pending
       ORDER BY id`,
      [connectionId],
    );
  }

  /** By connection, whether what is pending is breaking. */
  async standing(): Promise<Map<string, boolean>> {
    const rows = await this.database.query<{ connectionId: string; breaking: boolean }>(
      `SELECT connection_id AS "connectionId", bool_or(breaking) AS breaking
       FROM headrace.schema_change WHERE pending GROUP BY connection_id`,
    );
    return new Map(rows.map((row) => [row.connectionId, row.breaking]));
  }

  ofJobs(jobIds: readonly number[]): Promise<SchemaChange[]> {
    return this.database.query<SchemaChange>(
      `SELECT ${COLUMNS} FROM headrace.schema_change WHERE job_id = ANY($1::bigint[]) ORDER BY id`,
      [jobIds],
    );
  }

  /** A stream's records have another schema than the catalog says; what the connection's policy asks
   * for is done. Nothing happens when it is known already. */
  async differs(
    connectionId: string,
    stream: NamedStream,
    transforms: readonly FieldTransform[],
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      const found = await lockConnection(tx, connectionId);
      const configured = found === null ? undefined : configuredStream(found.document, stream);
      if (found === null || configured === undefined) return;
      const left = remaining(configured, transforms);
      if (left.length === 0) return;
      const policy = schemaPolicyOf(found.document);
      const breaking = left.some((each) => each.breaking);
      const carries = !breaking && !isHeldToCatalog(policy);
      const outcome = carries ? 'propagated' : outcomeOf(policy, breaking);
      const message = left.map(describeTransform).join('; ');
      const change = { connectionId, stream, transforms: left, breaking, message, outcome, policy };
      if (!(await note(tx, change))) return;
      if (carries)
        await saveDocument(tx, connectionId, withTransforms(found.document, stream, left));
      if (outcome === 'disabled') await disable(tx, found, change);
    });
  }

  /** A stream was stopped by a change that it cannot go on with. */
  async broke(connectionId: string, stream: NamedStream, message: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      const found = await lockConnection(tx, connectionId);
      if (found === null || configuredStream(found.document, stream) === undefined) return;
      const policy = schemaPolicyOf(found.document);
      const change = { connectionId, stream, transforms: [], breaking: true, message, policy };
      if (!(await note(tx, { ...change, outcome: 'stopped' }))) return;
      await saveDocument(tx, connectionId, { ...found.document, breakingChange: true });
    });
  }

  /** Streams that were stopped by a change and go on again, or are not part of the connection any more. */
  async mended(connectionId: string, streams: readonly NamedStream[]): Promise<void> {
    await this.database.transaction(async (tx) => {
      const found = await lockConnection(tx, connectionId);
      if (found === null) return;
      for (const { namespace, name } of streams) {
        await tx.query(
          `UPDATE headrace.schema_change SET pending = false
           WHERE connection_id = $1 AND namespace = $2 AND name = $3 AND breaking`,
          [connectionId, namespace, name],
        );
      }
      const left = await tx.query(
        `SELECT id FROM headrace.schema_change
         WHERE connection_id = $1 AND pending AND breaking LIMIT 1`,
        [connectionId],
      );
      if (left.length > 0 || !found.document.breakingChange) return;
      await saveDocument(tx, connectionId, { ...found.document, breakingChange: false });
    });
  }

  /** Tables that came to the source or left it, for a connection that follows it fully. */
  async streamsChanged(
    connectionId: string,
    change: {
      readonly added: readonly ConfiguredStream[];
      readonly removed: readonly NamedStream[];
      readonly known: readonly NamedStream[];
    },
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      const found = await lockConnection(tx, connectionId);
      if (found === null) return;
      const policy = schemaPolicyOf(found.document);
      if (policy !== 'propagate_fully') return;
      const kept = found.document.syncCatalog.streams.filter(
        (each) => !change.removed.some((gone) => isStream(each, gone)),
      );
      const added = change.added.filter((each) => !kept.some((k) => isStream(k, namedOf(each))));
      const syncCatalog = { streams: [...kept, ...added] };
      const knownStreams = change.known;
      await saveDocument(tx, connectionId, { ...found.document, syncCatalog, knownStreams });
      const common = { connectionId, transforms: [], breaking: false, policy };
      const tell = (stream: NamedStream, message: string) =>
        note(tx, { ...common, stream, message, outcome: 'propagated' });
      for (const each of added) await tell(namedOf(each), STREAM_ADDED);
      for (const gone of change.removed) await tell(gone, STREAM_REMOVED);
    });
  }

  /** The catalog was set by somebody: what it has now is no difference any more. */
  async settled(connectionId: string, document: ConnectionDocument): Promise<void> {
    for (const change of await this.pending(connectionId)) {
      const configured = configuredStream(document, change);
      const isOpen =
        configured !== undefined && remaining(configured, change.transforms).length > 0;
      if (isOpen || change.breaking) continue;
      await this.database.query(`UPDATE headrace.schema_change SET pending = false WHERE id = $1`, [
        change.id,
      ]);
    }
  }
}

/** The document with what is pending in its catalog: somebody has accepted it. */
export function accepted(
  document: ConnectionDocument,
  pending: readonly SchemaChange[],
): ConnectionDocument {
  return pending
    .filter(({ breaking }) => !breaking)
    .reduce((all, change) => withTransforms(all, change, change.transforms), document);
}

interface LockedConnection {
  readonly id: string;
  readonly status: string;
  readonly document: ConnectionDocument;
}

async function lockConnection(tx: Queryable, id: string): Promise<LockedConnection | null> {
  const [found] = await tx.query<LockedConnection>(
    `SELECT id, status, document FROM headrace.connection
     WHERE id = $1 AND status = 'active' FOR UPDATE`,
    [id],
  );
  return found ?? null;
}

async function saveDocument(
  tx: Queryable,
  id: string,
  document: ConnectionDocument,
): Promise<void> {
  await tx.query(
    `UPDATE headrace.connection SET document = $2::json, version = version + 1 WHERE id = $1`,
    [id, JSON.stringify(document)],
  );
}

function outcomeOf(policy: SchemaPolicy, breaking: boolean): SchemaOutcome {
  return breaking || policy === 'disable' ? 'disabled' : 'ignored';
}

/** As Airbyte does: the open job fails with the cause, and the connection rests until somebody has
 * looked. */
async function disable(
  tx: Queryable,
  { id, document }: LockedConnection,
  { stream, message }: NewChange,
): Promise<void> {
  const statusReason =
    `switched off by a schema change of stream ${labelOf(stream)}: ${message}. Nothing from the ` +
    "change on is delivered until the connection is active again. Its source's slot is kept, and " +
    "the source's server keeps its log.";
  await tx.query(
    `UPDATE headrace.connection SET document = $2::json, status = 'inactive',
       version = version + 1 WHERE id = $1`,
    [id, JSON.stringify({ ...document, statusReason })],
  );
  const failure = failureReason('SCH_CHANGE_HELD', `stream ${labelOf(stream)}: ${message}.`);
  const [open] = await tx.query<{ id: number }>(
    `SELECT id FROM headrace.job WHERE connection_id = $1
       AND status IN ('pending', 'running', 'incomplete')`,
    [id],
  );
  if (open !== undefined) await endJob(tx, open.id, { status: 'failed', failures: [failure] });
  await cancelOpenJob(tx, id);
}

/** False when the same is pending already. */
async function note(tx: Queryable, change: NewChange): Promise<boolean> {
  const { connectionId, stream, transforms, breaking, message, outcome, policy } = change;
  const pending = outcome !== 'propagated';
  const [same] = await tx.query(
    `SELECT id FROM headrace.schema_change WHERE connection_id = $1 AND namespace = $2
       AND name = $3 AND pending AND breaking = $4 AND message = $5`,
    [connectionId, stream.namespace, stream.name, breaking, message],
  );
  if (pending && same !== undefined) return false;
  await tx.query(
    `UPDATE headrace.schema_change SET pending = false
     WHERE connection_id = $1 AND namespace = $2 AND name = $3 AND pending`,
    [connectionId, stream.namespace, stream.name],
  );
  const line = `source: schema change of stream ${labelOf(stream)}, ${outcome}: ${message}`;
  const jobId = await noteInOpenJob(tx, connectionId, line);
  await tx.query(
    `INSERT INTO headrace.schema_change
       (connection_id, job_id, namespace, name, transforms, breaking, message, pending)
     VALUES ($1, $2, $3, $4, $5::json, $6, $7, $8)`,
    [
      connectionId,
      jobId,
      stream.namespace,
      stream.name,
      JSON.stringify(transforms),
      breaking,
      message,
      pending,
    ],
  );
  const details = { stream: labelOf(stream), message, breaking, outcome, policy, transforms };
  await recordEvent(tx, { kind: 'schema_change', connectionId, details });
  return true;
}

/** What of the transforms the catalog does not say yet. */
function remaining(
  { stream, config }: ConfiguredStream,
  transforms: readonly FieldTransform[],
): FieldTransform[] {
  const old = propertiesOf(stream.jsonSchema);
  if (old === null) return [];
  const paths = [...(config.primaryKey ?? []), ...(config.cursorField ?? []).map((f) => [f])];
  const needed = paths.flatMap((path) => path.slice(0, 1));
  return fieldTransforms(old, transformed(old, transforms), needed);
}

function withTransforms(
  document: ConnectionDocument,
  stream: NamedStream,
  transforms: readonly FieldTransform[],
): ConnectionDocument {
  const streams = document.syncCatalog.streams.map((each) => {
    const old = propertiesOf(each.stream.jsonSchema);
    if (old === null || !isStream(each, stream)) return each;
    const jsonSchema = { ...each.stream.jsonSchema, properties: transformed(old, transforms) };
    return { ...each, stream: { ...each.stream, jsonSchema } };
  });
  return { ...document, syncCatalog: { streams } };
}

function configuredStream(
  document: ConnectionDocument,
  stream: NamedStream,
): ConfiguredStream | undefined {
  return document.syncCatalog.streams.find((each) => isStream(each, stream));
}

function isStream({ stream }: ConfiguredStream, { namespace, name }: NamedStream): boolean {
  return stream.name === name && (stream.namespace ?? '') === namespace;
}

function namedOf({ stream }: ConfiguredStream): NamedStream {
  return { namespace: stream.namespace ?? '', name: stream.name };
}

function labelOf({ namespace, name }: NamedStream): string {
  return namespace === '' ? name : `${namespace}.${name}`;
}
