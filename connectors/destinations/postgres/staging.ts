import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { exchange, type Statement } from './exchange.ts';
import {
  createRebuild,
  createStaging,
  isStagingComment,
  marksOf,
  takeOver,
} from './generations.ts';
import type { SchemaOfRecord } from './newest-by-key.ts';
import { lockTopic, readPartitions } from './offset-store.ts';
import { endRebuild } from './replay-store.ts';
import { begin, type Sessions } from './sessions.ts';
import { alterTable, readTable, type CatalogTable } from './table-catalog.ts';
import type { RecordSlice } from './table-batch.ts';
import { changesTo, stagingLayout, type TableLayout } from './table-layout.ts';
import { refusal, type OwnedTable } from './owned-table.ts';
import type { Prepared } from './table-owner.ts';
import { tableOf } from './table-statements.ts';

/** Brings the staging tables of a generation or rebuild that is under way to the layouts of the live ones, the
 * first of which tells whether there is one; inside the caller's transaction. */
export async function alignStaging(
  client: Client,
  owned: OwnedTable,
  live: readonly TableLayout[],
): Promise<void> {
  const layouts = live.map(stagingLayout);
  const tables: (CatalogTable | null)[] = [];
  for (const { schema, table } of layouts) tables.push(await readTable(client, schema, table));
  const statements: Statement[] = [];
  tables.forEach((table, i) => {
    const layout = layouts[i] as TableLayout;
    if (table === null) {
      const create = owned.name.isReplaced ? createStaging : createRebuild;
      if (tables[0] !== null) statements.push(...create(live[i] as TableLayout));
      return;
    }
    if (!isStagingComment(table.comment)) {
      const name = { ...owned.name, table: layout.table };
      const what = 'a table of that name exists and is not ours';
      throw refusal({ ...owned, name }, 'DST_TABLE_FOREIGN', what);
    }
    // The live table has come there by the rules for widening; this one follows.
    const changes = changesTo(table.columns, layout.columns);
    if (changes.length > 0) statements.push(alterTable(layout, changes));
  });
  if (statements.length > 0) await exchange(client, statements, 0);
}

/**
 * Ends a rebuild once all partitions have come as far as they were to: what was built takes the place
 * of the live rows, in one transaction. Answers whether it is over.
 */
export async function finishRebuild(
  sessions: Sessions,
  { home, connectionId, topic }: OwnedTable,
  live: readonly TableLayout[],
): Promise<boolean> {
  return sessions.use(async (client) => {
    const limits = { lockTimeoutMs: 5000, statementTimeoutMs: 0 };
    const locked = await exchange(client, [...begin(limits), lockTopic(home, connectionId, topic)]);
    const partitions = readPartitions(locked[locked.length - 1]?.rows ?? []);
    const isOver = partitions.every(({ isRebuild }) => !isRebuild);
    const isWhole = partitions.every(
      ({ isRebuild, nextOffset, replayUntil }) =>
        isRebuild && (nextOffset ?? 0) >= (replayUntil ?? Infinity),
    );
    const work =
      isOver || !isWhole ? [] : [...live.flatMap(takeOver), endRebuild(home, connectionId, topic)];
    await exchange(client, [...work, { text: 'COMMIT' }], 0);
    return isOver || isWhole;
  });
}

/** What a writer knows of the generation under way in a stream's staging tables. */
export class StagedGeneration {
  private readonly owned: OwnedTable;
  private readonly sessions: Sessions;
  /** Nothing was delivered before this writer: the topic may begin in the middle of a copy. */
  private isFresh = false;

  constructor(owned: OwnedTable, sessions: Sessions) {
    this.owned = owned;
    this.sessions = sessions;
  }

  /** A replay may begin in the middle of a copy, too. */
  registered({ partitions }: Prepared, partition: number): void {
    const row = partitions.find((one) => one.partition === partition);
    const next = row?.nextOffset ?? null;
    const until = row?.replayUntil ?? null;
    this.isFresh = next === null || (until !== null && next < until);
  }

  /** Whether rows have a generation to go to before the first mark among the records. Refuses the end
   * of a generation whose rows are gone: the copy would be thought to be there. */
  async isThere(schemas: SchemaOfRecord, slices: readonly RecordSlice[]): Promise<boolean> {
    const { name } = this.owned;
    const staging = tableOf(stagingLayout({ ...name, columns: [], sourceColumns: 0, keys: [] }));
    const query = { text: 'SELECT pg_catalog.to_regclass($1)', values: [staging] };
    const [answer] = await this.sessions.use((client) => exchange(client, [query]));
    const isThere = answer?.rows[0]?.[0] !== null;
    const first = slices.flatMap((slice) => marksOf(schemas, slice))[0];
    if (isThere || first?.begins === true) this.isFresh = false;
    if (!isThere && !this.isFresh && first?.begins === false) {
      const message = `stream ${name.stream}: a copy ends of which the rows so far, in ${staging}, are gone`;
      throw new PipelineError('DST_STATE_LOST', message, { details: { stream: name.stream } });
    }
    return isThere;
  }
}
