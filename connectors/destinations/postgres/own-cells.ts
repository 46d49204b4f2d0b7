import type { ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { writeMetadata, type EventStamp } from './event-metadata.ts';
import { METADATA_COLUMNS } from './identifiers.ts';
import { rowMeta, type FieldChange } from './row-meta.ts';
import { eventIdOf, V2_NAMES, type TableLayout } from './table-layout.ts';
import { writeMicros } from './timestamp-cell.ts';

/** Writes the cells of a normalized row that are not the source's, wherever its table has them. */
export class OwnCells {
  private readonly stamped: readonly BinaryWriter[];
  private readonly isV2: boolean;
  private readonly byName: ReadonlyMap<string, BinaryWriter>;

  constructor(layout: TableLayout, cells: readonly BinaryWriter[]) {
    this.byName = new Map(layout.columns.map(({ name }, i) => [name, cells[i] as BinaryWriter]));
    this.isV2 = eventIdOf(layout) === V2_NAMES.id;
    const [, , ...positions] = METADATA_COLUMNS.slice(0, -1);
    const names = this.isV2
      ? [V2_NAMES.id, V2_NAMES.extractedAt]
      : [METADATA_COLUMNS[0], METADATA_COLUMNS[1]];
    this.stamped = [...names, ...positions].map((name) => this.byName.get(name) as BinaryWriter);
  }

  /** What every row has: the event's id, time and place, and when we wrote. */
  write(change: ChangeCursor, stamp: EventStamp, isDelete: boolean): void {
    writeMetadata(this.stamped, 0, change, stamp, isDelete);
    const normalizedAt = this.byName.get('_airbyte_normalized_at');
    if (normalizedAt !== undefined) writeMicros(normalizedAt, stamp.emittedAtMs * 1000);
    this.byName.get(V2_NAMES.generation)?.int8Cell(0, change.epoch);
  }

  /** What became of fields; the v2 rules say it where nothing did, too. */
  changed(changes: readonly FieldChange[]): void {
    const isSaid = this.isV2 || changes.length > 0;
    this.json(V2_NAMES.meta, isSaid ? rowMeta(changes) : null);
  }

  /** A text of a column that not all tables have. */
  text(name: string, text: string | undefined): void {
    const cell = this.byName.get(name);
    if (cell === undefined) return;
    if (text === undefined) cell.null();
    else cell.textCell(text);
  }

  /** JSON, or null, of a column that not all tables have. */
  json(name: string, json: string | null): void {
    const cell = this.byName.get(name);
    if (json === null) cell?.null();
    else cell?.textCell(`\u0001${json}`);
  }

  at(name: string): BinaryWriter {
    return this.byName.get(name) as BinaryWriter;
  }
}
