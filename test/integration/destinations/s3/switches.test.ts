import { expect, test } from 'vitest';
import { switchRun } from './switch-run.ts';

test('a reader polls while generations are switched and writers are killed or wake as zombies', async () => {
  const seed = Math.floor(Math.random() * 1_000_000);
  console.log(`switches: seed ${seed}`);
  const figures = await switchRun({ seed, switches: 15, interruptions: 4 });
  expect(figures.reads).toBeGreaterThan(5);
  expect(figures.generationsSeen).toBeGreaterThan(1);
}, 240_000);
