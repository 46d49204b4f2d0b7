import type { ErrorCode } from '../../core/errors/codes.ts';
import type { MonitoredConnection } from '../../core/store/monitoring.ts';
import { schemaPolicyOf } from '../../core/store/schema-policy.ts';
import type { Store } from '../../core/store/store.ts';
import type { ConnectionReport, NamedStream, ReportedError } from '../../core/store/work.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';

/** With these a stream was stopped because its table is not the one that the connection was set up
 * with, and no policy can carry it on. */
const BREAKING: ReadonlySet<ErrorCode> = new Set([
  'SRC_TABLE_CHANGED',
  'SRC_NO_REPLICA_IDENTITY',
  'SRC_STREAM_GONE',
  'SRC_COLUMN_UNUSABLE',
  'SCH_INCOMPATIBLE',
  'DST_SCHEMA_INCOMPATIBLE',
  'DST_KEY_MISMATCH',
]);

/** An older report says nothing of now. */
const FRESH_MS = 10_000;
/** What was noted is noted again now and then: a catalog may have been set back meanwhile. */
const AGAIN_MS = 15_000;

/**
 * Notes what workers report of changed schemas, so that each connection's policy is followed: the
 * sink delivers by the catalog, this brings the catalog to where the policy wants it.
 */
export class SchemaWatch {
  readonly store: Store;
  private readonly noted = new Map<string, { readonly what: string; readonly at: number }>();

  constructor(store: Store) {
    this.store = store;
  }

  async look(connections: readonly MonitoredConnection[]): Promise<void> {
    const standing = await this.store.schemaChanges.standing();
    for (const connection of connections) {
      await this.noteDifferences(connection);
      const { connectionId } = connection.subject;
      await this.noteStops(connection, standing.get(connectionId) === true);
    }
  }

  private async noteDifferences({ subject, delivery }: MonitoredConnection): Promise<void> {
    const { connectionId } = subject;
    const differing = (delivery?.streams ?? []).filter((each) => each.schemaChange !== undefined);
    const what = JSON.stringify(differing.map((each) => [streamLabel(each), each.schemaChange]));
    if (differing.length === 0 || !this.isNews(connectionId, what)) return;
    await noteDifferences(this, subject, { report: { streams: differing } });
  }

  private isNews(connectionId: string, what: string): boolean {
    const known = this.noted.get(connectionId);
    if (known?.what === what && Date.now() - known.at < AGAIN_MS) return false;
    this.noted.set(connectionId, { what, at: Date.now() });
    return true;
  }

  private async noteStops(connection: MonitoredConnection, isBroken: boolean): Promise<void> {
    const { connectionId } = connection.subject;
    const stops = stopsOf(connection);
    for (const [, { stream, error }] of stops) {
      await this.store.schemaChanges.broke(connectionId, stream, `${error.code}: ${error.message}`);
    }
    if (!isBroken || !isFresh(connection)) return;
    const pending = await this.store.schemaChanges.pending(connectionId);
    const mended = pending.filter((each) => each.breaking && !stops.has(streamLabel(each)));
    if (mended.length > 0) await this.store.schemaChanges.mended(connectionId, mended);
  }
}

/** Also at the end of a job, which is to show what it met. */
export async function noteDifferences(
  { store }: { readonly store: Store },
  { connectionId }: { readonly connectionId: string },
  said: { readonly report: Pick<ConnectionReport, 'streams'> } | null,
): Promise<void> {
  for (const { schemaChange, namespace, name } of said?.report.streams ?? []) {
    if (schemaChange === undefined) continue;
    await store.schemaChanges.differs(connectionId, { namespace, name }, schemaChange);
  }
}

interface Stop {
  readonly stream: NamedStream;
  readonly error: ReportedError;
}

/** The connection's streams that a changed table has stopped, by label. */
function stopsOf({ subject, source, read, delivery }: MonitoredConnection): Map<string, Stop> {
  const own = new Set(
    subject.document.syncCatalog.streams.map(({ stream: { namespace = '', name } }) =>
      streamLabel({ namespace, name }),
    ),
  );
  const captured = [source, read].flatMap((report) => report?.streams ?? []);
  const reported = [...captured, ...(delivery?.streams ?? [])];
  // Such a stream leaves the catalog instead.
  const leaves = schemaPolicyOf(subject.document) === 'propagate_fully';
  const stops = new Map<string, Stop>();
  for (const { namespace, name, phase, error } of reported) {
    const label = streamLabel({ namespace, name });
    if (phase !== 'stopped' || error === undefined || !BREAKING.has(error.code)) continue;
    if (leaves && error.code === 'SRC_STREAM_GONE') continue;
    if (own.has(label)) stops.set(label, { stream: { namespace, name }, error });
  }
  return stops;
}

/** Both ends have said how they stand; a service that restarts says first that it knows nothing. */
function isFresh({ source, sourceAgeMs, delivery, deliveryAgeMs }: MonitoredConnection): boolean {
  const capturing = source === null || (source.phase === 'streaming' && isRecent(sourceAgeMs));
  return capturing && delivery?.phase === 'running' && isRecent(deliveryAgeMs);
}

function isRecent(ageMs: number | null): boolean {
  return ageMs !== null && ageMs < FRESH_MS;
}
