import { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';

/** Records as tests write them down; an empty key or value is none. */
export type KeyValue = readonly [key: string, value: string];

export function arenaOf(records: readonly KeyValue[]): RecordArena {
  const arena = new RecordArena();
  for (const [key, value] of records) {
    put(arena, key);
    arena.endKey();
    put(arena, value);
    arena.endValue();
  }
  return arena;
}

function put(arena: RecordArena, text: string): void {
  const bytes = Buffer.from(text);
  arena.out.ensure(bytes.length);
  arena.out.copyRaw(bytes, 0, bytes.length);
}

export interface ReadRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
}

export function recordsOf(view: RecordView): ReadRecord[] {
  const text = (start: number, end: number): string | null =>
    start < 0 ? null : view.bytes.toString('utf8', start, end);
  return Array.from({ length: view.count }, (_, i) => ({
    offset: view.offsets[i] as number,
    key: text(view.keyStarts[i] as number, view.keyEnds[i] as number),
    value: text(view.valueStarts[i] as number, view.valueEnds[i] as number),
  }));
}
