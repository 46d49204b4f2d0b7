import type { SourceStreamOptions } from '../spi/source.ts';
import type { StreamLane } from './event-writer.ts';
import type { StreamMark } from './stream-states.ts';

export interface WantedCopies<Mark extends StreamMark> {
  /** The stored marks, without what is to be copied anew. */
  readonly marks: Readonly<Record<string, Mark>>;
  /** Events of a new copy belong to a new epoch: they win over all that was delivered before, also
   * when the server's log has gone back. */
  readonly epoch: number;
  /** No stream goes on from the stored position, so that it is not needed any more. */
  readonly afresh: boolean;
}

/**
 * What of a stored state holds, given the copies that are wanted now; notes them on the lanes, so
 * that they are stored with the streams. The same answer after any crash: a wish is fulfilled when a
 * committed state names it, and not before (invariant 6).
 */
export function wantedCopies<Mark extends StreamMark>(
  streams: readonly SourceStreamOptions[],
  lanes: readonly StreamLane[],
  stored: { readonly epoch: number; readonly marks: Readonly<Record<string, Mark>> } | null,
): WantedCopies<Mark> {
  const marks = { ...stored?.marks };
  let anew = 0;
  let going = 0;
  lanes.forEach((lane, index) => {
    const wanted = streams[index]?.copy;
    if (wanted !== undefined) lane.copy = wanted;
    const mark = marks[lane.label];
    if (mark === undefined) return;
    if (wanted === undefined || mark.copy === wanted) {
      going++;
      return;
    }
    anew++;
    marks[lane.label] = { from: mark.from, done: false, partial: true } as Mark;
  });
  const epoch = (stored?.epoch ?? 1) + (anew > 0 ? 1 : 0);
  return { marks, epoch, afresh: anew > 0 && going === 0 };
}
