import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Runs a program that a signal may hit. Answers its exit code; null when it was killed, or stopped and
 * put to the zombies. */
export async function runInterrupted(
  program: string,
  order: object,
  zombies: ChildProcess[],
): Promise<number | null> {
  const stdio = ['ignore', 'inherit', 'inherit'] as const;
  const child = spawn(process.execPath, [program, JSON.stringify(order)], { stdio: [...stdio] });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  for (;;) {
    const result = await Promise.race([exited, delay(50, null)]);
    if (result !== null) {
      const [code] = result;
      if (code !== null && code !== 0) throw new Error(`the program ended with ${code}`);
      return code;
    }
    if (/^\S+ \(.*\) T /.test(statOf(child))) {
      zombies.push(child);
      return null;
    }
  }
}

function statOf({ pid }: ChildProcess): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}
