import { execFile } from 'node:child_process';
import type { Rig } from './rig.ts';

export interface Verdict {
  readonly stream: string;
  readonly rows: number;
  readonly reread: number;
  readonly missing: string[][];
  readonly extra: string[][];
  readonly different: string[][];
  readonly unsettled: string[][];
  readonly error?: { readonly code: string; readonly message: string };
}

export interface Verified {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
  /** By stream. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
}

/** `headrace verify CONNECTION --json` beside the rig's API. */
export function verify(rig: Rig, connectionId: string): Promise<Verified> {
  return new Promise((resolve) => {
    const program = ['services/main.ts', 'verify', connectionId, '--json'];
    const env = { ...process.env, HEADRACE_API_PORT: String(rig.apiPort) };
    execFile(process.execPath, program, { env, timeout: 240_000 }, (error, out, err) => {
      const exit = error === null ? 0 : Number(error.code ?? -1);
      resolve({ exit, out, err, verdicts: verdictsOf(out) });
    });
  });
}

function verdictsOf(out: string): Map<string, Verdict> {
  const lines = out.trim().split('\n');
  const verdicts = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Verdict);
  return new Map(verdicts.map((verdict) => [verdict.stream, verdict]));
}
