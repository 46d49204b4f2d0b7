import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { processStat } from '../../../../core/run/process-stat.ts';

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
    if (processStat(child.pid as number)?.state === 'T') {
      zombies.push(child);
      return null;
    }
  }
}
