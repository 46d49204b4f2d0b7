import { expect, it } from 'vitest';
import { POINTS } from '../../chaos/matrix-points.ts';
import { PROGRAM_FOLDERS, sourceFiles } from './source-files.ts';

it('every failpoint in the code is in the matrix, and the other way round', () => {
  const inCode = new Set<string>();
  for (const { text } of sourceFiles(PROGRAM_FOLDERS)) {
    for (const [, name] of text.matchAll(/\bfailpoint\('([\w.-]+)'\)/g)) inCode.add(name as string);
  }
  expect([...inCode].toSorted()).toEqual(POINTS.map(({ name }) => name).toSorted());
});
