import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import { isTransactional, streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import type { ConsistentView } from './consistent-view.ts';
import { CopyProgress } from './copy-progress.ts';
import { logIncomplete } from './errors.ts';
import { placeText, type StreamMark } from './position.ts';
import { shapeOfTable } from './schema-history.ts';
import type { SnapshotPlan } from './snapshot.ts';
import { compileTextShape } from './shapes.ts';
import { TableCopy } from './table-copy.ts';
import { fromTable } from './text-rows.ts';

/** A table as it is now, ready to be copied under a view. */
export async function copyOf(
  plan: SnapshotPlan,
  { place, touched }: ConsistentView,
  lane: StreamLane,
): Promise<TableCopy> {
  const { state, open, sql } = plan;
  const table = (await tablesNamed(sql, [lane.stream])).get(lane.label);
  if (table === undefined) throw streamGone(lane.label);
  if (!isTransactional(table)) {
    throw logIncomplete(
      lane.label,
      `engine ${table.engine} has no transactions; run: ALTER TABLE ${fromTable(table)} ENGINE = InnoDB`,
    );
  }
  const { codec, ids, plans } = await compileTextShape(table, open.registerSchema);
  const before = state.mark(lane.label);
  const progress = new CopyProgress(table, codec, ids, before, place);
  const mark = { key: table.key, ids, ...shapesOf(plan, table, place, progress, before) };
  const rows = touched.get(lane.label) ?? new Map();
  return new TableCopy({ lane, table, codec, plans, progress, before: rows, mark }, state);
}

/** What the log will not say of the table, from the view's place on. */
function shapesOf(
  { namesColumns }: SnapshotPlan,
  table: TableFacts,
  place: bigint,
  { resumed }: CopyProgress,
  before: StreamMark | undefined,
): Pick<StreamMark, 'shapes'> {
  if (namesColumns) return {};
  const known = resumed ? before?.shapes : undefined;
  return { shapes: known ?? [shapeOfTable(table, placeText(place))] };
}

/** Since its first row was read the view keeps the table from being changed: as it is now, it was then.
 * As it was before the view, it was at the view's place. */
export async function refuseChanged(
  { namesColumns, sql }: SnapshotPlan,
  tables: ReadonlyMap<string, TableFacts>,
  { lane, parts: { table } }: TableCopy,
): Promise<void> {
  if (namesColumns) return;
  const shape = (facts: TableFacts | undefined): string =>
    JSON.stringify([facts?.columns, facts?.key]);
  const after = (await tablesNamed(sql, [lane.stream])).get(lane.label);
  if (shape(tables.get(lane.label)) === shape(table) && shape(after) === shape(table)) return;
  throw new PipelineError(
    'SRC_CONNECTION_LOST',
    `table ${lane.label} was changed while its copy began; it is copied again`,
  );
}
