import { expect, test } from 'vitest';
import {
  addFigures,
  firstFigures,
  streamStats,
} from '../../../../services/scheduler/job-figures.ts';
import type { ConnectionReport } from '../../../../core/store/work.ts';
import type { TimedReport } from '../../../../core/store/worker-store.ts';

function says(
  records: number,
  nulledValues?: Record<string, number>,
): TimedReport<ConnectionReport> {
  const stream = {
    namespace: 'public',
    name: 'orders',
    phase: 'running',
    records,
    bytes: records * 10,
    watermarkMs: 0,
    ...(nulledValues === undefined ? {} : { nulledValues }),
  } as const;
  const report = { kind: 'connection', id: 'c', phase: 'running', version: 'v' } as const;
  return {
    ageMs: 0,
    report: { ...report, partitions: [], stageMs: { kafka: 0, write: 0 }, streams: [stream] },
  };
}

test('values that did not fit are counted from the begin of the attempt, through a restart', () => {
  let figures: Parameters<typeof addFigures>[0] = firstFigures(says(100, { price: 4 }));
  const stats = (): unknown => streamStats(figures)[0]?.nulledValues;
  figures = addFigures(figures, says(110, { price: 4 }));
  expect(streamStats(figures)[0]).not.toHaveProperty('nulledValues');
  figures = addFigures(figures, says(120, { price: 6, note: 1 }));
  expect(stats()).toEqual({ price: 2, note: 1 });
  // A new sink begins at zero.
  figures = addFigures(figures, says(5, { price: 3 }));
  expect(stats()).toEqual({ price: 5, note: 1 });
  figures = addFigures(figures, says(6, { price: 3 }));
  expect(stats()).toEqual({ price: 5, note: 1 });
});
