import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { kafkaHome } from '../deploy/local/kafka.ts';
import { mariadbPrograms } from '../deploy/local/mariadb.ts';
import { minioProgram } from '../deploy/local/minio.ts';
import { mysqlPrograms } from '../deploy/local/mysql.ts';

/**
 * `npm test`: fetches the real servers, runs every suite, ends with the line `N passed, N failed`.
 * Arguments go to vitest: `npm test -- --project unit`, `npm test -- test/integration/deploy`.
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly unknown[];
  }[];
}

interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Here, not in a test's set-up: building MinIO takes minutes, and a hook's time would run out. */
async function fetchServers(): Promise<void> {
  for (const fetchServer of [kafkaHome, minioProgram, mysqlPrograms, mariadbPrograms]) {
    try {
      await fetchServer();
    } catch (error) {
      // The tests that need it fail with the same error, by name; the others run.
      console.error((error as Error).message);
    }
  }
}

function runVitest(reportFile: string, args: readonly string[]): Promise<number> {
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], {
      cwd: ROOT,
      stdio: 'inherit',
    });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** A file that fails before its first test (an import, a hook) has no failed test, and is one failure. */
function tally(report: Report): Tally {
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles,
    skipped: report.numPendingTests,
  };
}

function readReport(file: string): Tally {
  try {
    return tally(JSON.parse(readFileSync(file, 'utf8')) as Report);
  } catch {
    // No report: vitest itself did not come to its end.
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

const folder = mkdtempSync(join(tmpdir(), 'headrace-tests-'));
const args = process.argv.slice(2);
if (!args.includes('unit')) await fetchServers();
const exitCode = await runVitest(join(folder, 'report.json'), args);
const { passed, failed: failedTests, skipped } = readReport(join(folder, 'report.json'));
rmSync(folder, { recursive: true, force: true });
// Vitest also fails on what no test shows, e.g. an unhandled rejection.
const failed = exitCode !== 0 && failedTests === 0 ? 1 : failedTests;
if (skipped > 0) console.log(`${skipped} skipped`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
