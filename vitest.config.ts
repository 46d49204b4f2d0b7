import { defineConfig } from 'vitest/config';
import { KEEP_WASM_WRAPPERS } from './core/run/wasm-wrappers.ts';

/**
 * One project for each kind of server that a test file names in its suffix: `x.pg.test.ts`. They run
 * one after the other, and the files of a project that starts servers one by one, so that a machine
 * with two cores never holds two brokers at once.
 */
const SERVER_SUFFIXES = ['pg', 'kafka', 's3', 'store', 'mysql', 'mariadb'] as const;
const MINUTE = 60_000;

interface Project {
  readonly name: string;
  readonly include: string[];
  readonly exclude?: string[];
  readonly maxWorkers: number;
  readonly timeout: number;
}

const withServer = SERVER_SUFFIXES.map((suffix) => `**/*.${suffix}.test.ts`);

const projects: readonly Project[] = [
  {
    name: 'unit',
    include: ['test/unit/**/*.test.ts'],
    exclude: withServer,
    maxWorkers: 2,
    timeout: 20_000,
  },
  ...SERVER_SUFFIXES.map((suffix) => ({
    name: suffix,
    include: [`test/{unit,integration,conformance}/**/*.${suffix}.test.ts`],
    maxWorkers: 1,
    timeout: 2 * MINUTE,
  })),
  {
    name: 'integration',
    include: ['test/{integration,conformance}/**/*.test.ts'],
    exclude: withServer,
    maxWorkers: 1,
    timeout: 2 * MINUTE,
  },
  { name: 'e2e', include: ['test/e2e/**/*.test.ts'], maxWorkers: 1, timeout: 5 * MINUTE },
  { name: 'chaos', include: ['test/chaos/**/*.test.ts'], maxWorkers: 1, timeout: 5 * MINUTE },
];

export default defineConfig({
  test: {
    projects: projects.map(({ name, include, exclude, maxWorkers, timeout }, position) => ({
      test: {
        name,
        include,
        exclude: exclude ?? [],
        maxWorkers,
        // kafkajs computes negative timeouts, which do no harm.
        execArgv: ['--disable-warning=TimeoutNegativeWarning', KEEP_WASM_WRAPPERS],
        testTimeout: timeout,
        hookTimeout: timeout,
        sequence: { groupOrder: position },
      },
    })),
  },
});
