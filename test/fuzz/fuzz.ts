import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { apiContext, createConnection } from '../integration/control/api-fixture.ts';
import { pythonEnvironment } from '../support/python.ts';

/**
 * `npm run fuzz`: Schemathesis, from its own registry, tries the API from the document that it serves
 * of itself. No 5xx, no hang, nothing but JSON. Ends with one JSON object; 1 when a call failed.
 */

const { values } = parseArgs({
  options: {
    examples: { type: 'string', default: '25' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
  },
});

const bin = await pythonEnvironment(['schemathesis==4.32.5']);
const scratch = mkdtempSync(join(tmpdir(), 'headrace-fuzz-'));
const api = await apiContext();
await createConnection(api);
const failed: string[] = [];
for (const document of ['/api/v1/openapi', '/api/public/v1/openapi']) {
  if (!(await fuzz(join(bin, 'st'), document))) failed.push(document);
}
await api[Symbol.asyncDispose]();
rmSync(scratch, { recursive: true });
process.stdout.write(
  `${JSON.stringify({ seed: values.seed, examples: values.examples, failed })}\n`,
);
process.exit(failed.length === 0 ? 0 : 1);

async function fuzz(program: string, document: string): Promise<boolean> {
  const checks = 'not_a_server_error,content_type_conformance,response_schema_conformance';
  const child = spawn(
    program,
    [
      'run',
      `${api.url}${document}`,
      ...['--url', api.url],
      ...['--checks', checks],
      ...['--phases', 'examples,coverage,fuzzing'],
      ...['--max-examples', values.examples],
      ...['--seed', values.seed],
      ...['--request-timeout', '30'],
      ...['--warnings', 'off'],
      ...['--generation-database', 'none'],
      '--no-color',
      '--continue-on-failure',
    ],
    { stdio: ['ignore', 'inherit', 'inherit'], cwd: scratch },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}
