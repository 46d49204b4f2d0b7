import { withFields, type FileColumn } from './file-columns.ts';
import { fieldKey, MAX_FIELDS, type FoundField } from './json-fields.ts';

/**
 * The fields of JSON documents that the partitions of one stream have met. Each makes columns of all of
 * them, so that the files of a stream are one dataset: a reader that takes its columns from one file
 * would fail at another one in which they are missing.
 */
export class StreamFields {
  private readonly fields = new Map<string, FoundField>();

  add(fields: readonly FoundField[]): void {
    for (const field of fields) {
      if (this.fields.size >= MAX_FIELDS) return;
      this.fields.set(fieldKey(field), field);
    }
  }

  /** Those that files have columns for. */
  addColumns(columns: readonly FileColumn[]): void {
    this.add(columns.flatMap(({ source, path }) => (path === undefined ? [] : [{ source, path }])));
  }

  /** `columns` with one for each field behind; `columns` itself when it lacks none. */
  widen(columns: readonly FileColumn[]): readonly FileColumn[] {
    return withFields(columns, [...this.fields.values()]);
  }
}

/** By topic. */
export class FieldsOfStreams {
  private readonly streams = new Map<string, StreamFields>();

  of(topic: string): StreamFields {
    let fields = this.streams.get(topic);
    if (fields === undefined) {
      fields = new StreamFields();
      this.streams.set(topic, fields);
    }
    return fields;
  }
}
