import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** Runs somebody else's program to its end; its output. Throws with all that it said otherwise. */
export async function runProgram(
  program: string,
  parameters: readonly string[],
  options: {
    readonly cwd?: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly input?: string;
  } = {},
): Promise<string> {
  const child = spawn(program, parameters, {
    env: { ...process.env, ...options.environment },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.stdin.end(options.input ?? '');
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  if (code === 0) return output;
  const said = `${output}\n${errors}`.slice(-8000);
  throw new Error(`${[program, ...parameters].join(' ')} ended with ${code}:\n${said}`);
}

/** What a client of ours in Python says on its last line. */
export async function runScript(
  bin: string,
  script: URL,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const output = await runProgram(`${bin}/python`, [script.pathname, ...parameters], {
    environment,
  });
  return JSON.parse(output.trimEnd().split('\n').at(-1) ?? '');
}
