import { OP_DELETE } from '../../../schemas/envelope/change-decoder.ts';
import { hashId } from '../../../schemas/normalize/json-value.ts';
import { instantText } from '../../../schemas/values/time-text.ts';
import type { EventStamp } from './event-metadata.ts';
import type { Statement } from './exchange.ts';
import { HISTORY_NAMES } from './history-layout.ts';
import { addVersions, endVersions } from './history-statements.ts';
import type { NormalizedEvent } from './normalized-events.ts';
import { OwnCells } from './own-cells.ts';
import type { FieldChange } from './row-meta.ts';
import { StagedRows } from './staged-rows.ts';
import type { TableLayout } from './table-layout.ts';
import { writeMicros } from './timestamp-cell.ts';

/** Versions of rows as they are staged. */
export class HistoryRows {
  readonly rows: StagedRows;
  private readonly layout: TableLayout;
  private readonly own: OwnCells;

  constructor(layout: TableLayout, records: number) {
    this.layout = layout;
    this.rows = new StagedRows(layout.columns, records);
    this.own = new OwnCells(layout, this.rows.cells);
  }

  /** The cells of a version beside its fields. Whether it is the active one is found out behind. */
  write({ change, flat }: NormalizedEvent, stamp: EventStamp, hashColumn: string): void {
    const { own } = this;
    const isDelete = change.op === OP_DELETE;
    own.write(change, stamp, isDelete);
    own.text(hashColumn, flat?.hash);
    own.text('_airbyte_unique_key', flat?.uniqueKey);
    const emittedUs = stamp.emittedAtMs * 1000;
    // Not every source tells the time of a change.
    const fromUs = change.tsUs === 0 ? emittedUs : change.tsUs;
    const changedAt = change.tsUs === 0 ? '' : instantText(change.tsUs);
    const cdc = [String(change.lsn), changedAt, isDelete ? changedAt : ''];
    const times = [instantText(fromUs), instantText(emittedUs)];
    own.text(HISTORY_NAMES.version, hashId([flat?.uniqueKey ?? '', ...times, ...cdc]));
    writeMicros(own.at(HISTORY_NAMES.from), fromUs);
    own.at(HISTORY_NAMES.until).null();
    own.at(HISTORY_NAMES.active).int4Cell(0);
  }

  /** What became of fields of the version that was written last. */
  changed(changes: readonly FieldChange[]): void {
    this.own.changed(changes);
  }

  /** Adds the versions that are not there yet, and ends those that they follow. */
  statements(text: (name: string, make: () => string) => string): Statement[] {
    const { rows, layout } = this;
    if (rows.rows === 0) return [];
    const values = rows.parameters();
    const keys = layout.keys.map((index) => values[index] as Buffer);
    return [
      { text: text('versions', () => addVersions(layout)), values },
      { text: text('ends', () => endVersions(layout)), values: keys },
    ];
  }
}
