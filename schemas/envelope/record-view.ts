/**
 * Records as they lie in a fetched batch: what a destination reads. Bytes are shared with the fetch
 * answer and are never written to; they stay valid as long as the view is held.
 */
export interface RecordView {
  readonly count: number;
  readonly bytes: Buffer;
  /** Offsets of the records; not contiguous: compaction and control records leave holes. */
  readonly offsets: Float64Array;
  /** [keyStarts[i], keyEnds[i]) and [valueStarts[i], valueEnds[i]); a start of -1 means null. */
  readonly keyStarts: Int32Array;
  readonly keyEnds: Int32Array;
  readonly valueStarts: Int32Array;
  readonly valueEnds: Int32Array;
}

/** One view of the records of several, in their order; the bytes are copied. */
export function joinViews(views: readonly RecordView[]): RecordView {
  const count = views.reduce((sum, view) => sum + view.count, 0);
  const joined = {
    count,
    bytes: Buffer.concat(views.map((view) => view.bytes)),
    offsets: new Float64Array(count),
    keyStarts: new Int32Array(count),
    keyEnds: new Int32Array(count),
    valueStarts: new Int32Array(count),
    valueEnds: new Int32Array(count),
  };
  let record = 0;
  let base = 0;
  for (const view of views) {
    joined.offsets.set(view.offsets.subarray(0, view.count), record);
    for (const name of ['keyStarts', 'keyEnds', 'valueStarts', 'valueEnds'] as const) {
      for (let i = 0; i < view.count; i++) {
        const at = view[name][i] as number;
        joined[name][record + i] = at === -1 ? -1 : at + base;
      }
    }
    record += view.count;
    base += view.bytes.length;
  }
  return joined;
}

/** Records [from, to) of a view; the bytes are shared. */
export function partOf(view: RecordView, from: number, to: number): RecordView {
  return {
    count: to - from,
    bytes: view.bytes,
    offsets: view.offsets.subarray(from, to),
    keyStarts: view.keyStarts.subarray(from, to),
    keyEnds: view.keyEnds.subarray(from, to),
    valueStarts: view.valueStarts.subarray(from, to),
    valueEnds: view.valueEnds.subarray(from, to),
  };
}

/** Reads the schema id of the Confluent wire format; -1 when the bytes do not begin with its header. */
export function schemaIdAt(bytes: Buffer, start: number, end: number): number {
  if (end - start < 5 || bytes[start] !== 0) return -1;
  return bytes.readInt32BE(start + 1);
}

export const WIRE_HEADER_BYTES = 5;

export function writeWireHeader(bytes: Buffer, pos: number, schemaId: number): void {
  bytes[pos] = 0;
  bytes.writeInt32BE(schemaId, pos + 1);
}
