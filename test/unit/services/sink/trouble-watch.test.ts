import { expect, test } from 'vitest';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import { TroubleWatch } from '../../../../services/sink/trouble-watch.ts';

test('a trouble that lasts is told once, and once that it is over', () => {
  const said: string[] = [];
  const note = (what: string) => () => void said.push(what);
  const watch = new TroubleWatch(
    { waitsFor: (trouble) => said.push(trouble?.code ?? 'nothing') },
    { warn: note('warn'), info: note('info') },
  );
  const away = new PipelineError('KAFKA_UNAVAILABLE', 'no broker answers');
  for (const now of [0, 1_999]) watch.look(away, now);
  watch.look(null, 2_000);
  for (const now of [3_000, 4_999]) watch.look(away, now);
  expect(said).toEqual([]);
  for (const now of [5_000, 60_000]) watch.look(away, now);
  expect(said).toEqual(['warn', 'KAFKA_UNAVAILABLE']);
  watch.look(null, 61_000);
  watch.look(null, 62_000);
  expect(said).toEqual(['warn', 'KAFKA_UNAVAILABLE', 'info', 'nothing']);
});
