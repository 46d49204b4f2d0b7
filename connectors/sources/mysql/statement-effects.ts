import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeWriter, StreamLane } from '../../capture/event-writer.ts';
import { RowCodec } from '../../capture/row-codec.ts';
import type { QueryEvent } from './binlog-events.ts';
import { streamGone } from './catalog.ts';
import { logIncomplete } from './errors.ts';
import type { CaptureState } from './position.ts';
import { bareStatement, mayChangeRows, renamedAway, tableEffects } from './statements.ts';
import type { Tables } from './tables.ts';

/** What logged statements mean for our streams. */
export class StatementEffects {
  private readonly state: CaptureState;
  private readonly writer: ChangeWriter;
  private readonly tables: Tables;
  private readonly stop: (lane: StreamLane, error: PipelineError) => void;

  constructor(
    state: CaptureState,
    writer: ChangeWriter,
    tables: Tables,
    stop: (lane: StreamLane, error: PipelineError) => void,
  ) {
    this.state = state;
    this.writer = writer;
    this.tables = tables;
    this.stop = stop;
  }

  /** `inside` a transaction only statements that were logged instead of their rows matter. */
  apply(event: QueryEvent, inside: boolean, skipped: boolean): void {
    const statement = bareStatement(event.text);
    if (inside) {
      this.refuseLoggedChanges(statement, event.database);
      return;
    }
    const effects = tableEffects(statement, event.database);
    for (const each of effects) {
      if (each.effect === 'dropDatabase') this.dropDatabase(each.database);
      else if (each.effect === 'drop')
        this.end(each.table, (label) => streamGone(label, 'was dropped'));
      else if (each.effect === 'partition') {
        this.end(each.table, (label) =>
          logIncomplete(label, 'rows went with a partition, unlogged'),
        );
      } else if (each.effect === 'truncate' && !skipped) this.truncate(each.table);
    }
    for (const label of renamedAway(effects)) {
      this.end(label, (name) => streamGone(name, 'was renamed'));
    }
  }

  private running(label: string): StreamLane | null {
    const lane = this.state.lane(label);
    return lane === undefined || lane.stopped || this.tables.due(lane) === 'none' ? null : lane;
  }

  private end(label: string, reason: (label: string) => PipelineError): void {
    const lane = this.running(label);
    if (lane !== null) this.stop(lane, reason(label));
  }

  private dropDatabase(database: string): void {
    for (const lane of this.state.lanes) {
      if (lane.stream.namespace !== database) continue;
      this.end(lane.label, (label) => streamGone(label, 'went with its database'));
    }
  }

  private truncate(label: string): void {
    const lane = this.running(label);
    if (lane === null) return;
    if (this.tables.due(lane) !== 'all') {
      const why = 'was emptied while its copy was interrupted';
      return this.stop(
        lane,
        new PipelineError('SRC_TABLE_CHANGED', `table ${label} ${why}`, {
          details: { stream: label },
        }),
      );
    }
    const ids = this.state.mark(label)?.ids;
    if (ids === undefined) return;
    // The event has no row, so that the schemas' numbers are all that is needed of the shape.
    const bare = { stream: lane.stream, columns: [], key: [] };
    this.writer.truncate(lane, new RowCodec(bare, ids, []));
  }

  private refuseLoggedChanges(statement: string, database: string): void {
    for (const lane of this.state.lanes) {
      if (!mayChangeRows(statement, database, lane.stream)) continue;
      this.end(lane.label, (label) =>
        logIncomplete(
          label,
          'a change was logged as a statement, without its rows; run: SET GLOBAL binlog_format = ROW',
        ),
      );
    }
  }
}
