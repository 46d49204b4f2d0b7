import type { PartitionTarget } from '../../spi/destination.ts';
import type { FieldChange } from './row-meta.ts';

/** What the server says of a value, in the words of Airbyte's protocol. */
const BY_SQLSTATE: Readonly<Record<string, string>> = {
  '22001': 'DESTINATION_FIELD_SIZE_LIMITATION',
  '22003': 'DESTINATION_FIELD_SIZE_LIMITATION',
  '22008': 'DESTINATION_FIELD_SIZE_LIMITATION',
  '54000': 'DESTINATION_FIELD_SIZE_LIMITATION',
  '54001': 'DESTINATION_FIELD_SIZE_LIMITATION',
};

export function nulled(field: string, sqlstate: string): FieldChange {
  const reason = BY_SQLSTATE[sqlstate] ?? 'DESTINATION_SERIALIZATION_ERROR';
  return { field, change: 'NULLED', reason };
}

/** A record's fields that its columns refuse. */
export interface RecordMisfits {
  readonly changes: ReadonlyMap<string, FieldChange>;
  /** The document that is kept of the record cannot hold them either. */
  readonly inDocument: boolean;
}

/** The values of a batch that become NULL because their columns refuse them. */
export class MisfitCells {
  private readonly byPartition = new Map<string, Map<number, RecordMisfits>>();

  of({ topic, partition }: PartitionTarget, offset: number): RecordMisfits | undefined {
    return this.byPartition.get(`${topic}/${partition}`)?.get(offset);
  }

  set({ topic, partition }: PartitionTarget, offset: number, misfits: RecordMisfits): void {
    const name = `${topic}/${partition}`;
    const records = this.byPartition.get(name) ?? new Map<number, RecordMisfits>();
    records.set(offset, misfits);
    this.byPartition.set(name, records);
  }

  /** How many values became NULL, by field. */
  get counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const records of this.byPartition.values()) {
      for (const { changes } of records.values()) {
        for (const field of changes.keys()) counts.set(field, (counts.get(field) ?? 0) + 1);
      }
    }
    return counts;
  }
}
