import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import { processStat } from '../../../../core/run/process-stat.ts';
import type { WriterOrder } from './interrupted-writer.ts';
import { randomChanges, randomOf } from './key-workload.ts';
import { readPublished } from './published-reader.ts';

const PROGRAM = fileURLToPath(new URL('./interrupted-writer.ts', import.meta.url));
const FOLDER = 'data/production_public/customers';

export interface SwitchRun {
  readonly seed: number;
  /** Generations to be made; each has `step` records. */
  readonly switches: number;
  /** Writers that are killed or stopped in turn at a random request. */
  readonly interruptions: number;
}

export interface SwitchFigures {
  readonly reads: number;
  readonly generationsSeen: number;
  readonly writers: number;
}

/**
 * Writers of one partition, killed, and stopped to go on as zombies later, while a reader polls by the
 * documented way in: each read must be the rows of the offset that the same manifest names.
 */
export async function switchRun(run: SwitchRun): Promise<SwitchFigures> {
  const step = 20;
  const scratch = mkdtempSync(join(tmpdir(), 'headrace-switch-'));
  const workload = randomChanges(run.seed, run.switches * step, 60);
  const order = {
    config: {
      s3_endpoint: `file://${scratch}`,
      s3_bucket_name: 'lake',
      s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
      format: { format_type: 'Parquet', block_size_mb: 0.002 },
    },
    connectionId: 'switches',
    seed: run.seed,
    count: run.switches * step,
    keys: 60,
    step,
  };
  const database = await (await DuckDBInstance.create()).connect();
  const figures = { reads: 0, generationsSeen: 0, writers: 0 };
  const seen = new Set<string>();
  const zombies: ChildProcess[] = [];
  let done = false;
  const read = async (): Promise<bigint> => {
    const rows = await readPublished(
      database,
      join(scratch, 'lake'),
      FOLDER,
      `select getvariable('next'), list((id::text, text, body, amount::text)::text order by id),
        getvariable('generation') from ROWS`,
    );
    const [next, found, generation] = rows[0] as [bigint, { items: string[] } | null, bigint];
    const expected = [...workload.rowsAt(Number(next))]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, [text, body, amount]]) => tupleText([String(id), text, body, amount]));
    if (JSON.stringify(found?.items ?? []) !== JSON.stringify(expected)) {
      throw new Error(
        `seed ${run.seed}: generation ${generation} is not the rows of offset ${next}`,
      );
    }
    seen.add(String(generation));
    figures.reads++;
    return next;
  };
  const reading = (async () => {
    while (!done) {
      const isThere = figures.reads > 0 || (await read().catch(noManifestYet)) !== null;
      if (isThere) await read();
      await delay(20);
    }
  })();
  // Whoever awaits it first reports it.
  reading.catch(() => undefined);
  try {
    const random = randomOf(run.seed);
    for (let writer = 0; ; writer++) {
      figures.writers++;
      const signal = writer % 2 === 0 ? 'SIGKILL' : 'SIGSTOP';
      const atRequest = writer < run.interruptions ? 5 + Math.floor(random() * 70) : 0;
      const scratchFolder = mkdtempSync(join(scratch, 'writer-'));
      const ended = await runWriter({ ...order, scratchFolder, signal, atRequest }, zombies);
      if (ended === 'all') break;
      // The zombie of before goes on while the next writer works.
      if (zombies.length > 1) zombies.shift()?.kill('SIGCONT');
    }
    for (const zombie of zombies) {
      const gone = once(zombie, 'exit');
      zombie.kill('SIGCONT');
      await gone;
    }
    done = true;
    await reading;
    if ((await read()) !== BigInt(workload.topic.end)) throw new Error('the last rows are missing');
    return { ...figures, generationsSeen: seen.size };
  } finally {
    done = true;
    for (const zombie of zombies) zombie.kill('SIGKILL');
    await reading.catch(() => undefined);
    database.closeSync();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A read before the first generation finds no manifest. */
function noManifestYet(error: unknown): null {
  if (String(error).includes('No files found')) return null;
  throw error;
}

/** As DuckDB prints a row of texts. */
function tupleText(cells: readonly (string | null)[]): string {
  return `(${cells.map((cell) => (cell === null ? 'NULL' : cell)).join(', ')})`;
}

/** Ends when the writer has all, is killed, or is stopped; a stopped one is put to the zombies. */
async function runWriter(order: WriterOrder, zombies: ChildProcess[]): Promise<'all' | 'cut off'> {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(order)], { stdio: 'ignore' });
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  if (order.atRequest === 0 || order.signal === 'SIGKILL') {
    const [code] = await exited;
    return code === 0 ? 'all' : 'cut off';
  }
  for (;;) {
    const result = await Promise.race([exited, delay(50, null)]);
    if (result !== null) return result[0] === 0 ? 'all' : 'cut off';
    if (processStat(child.pid as number)?.state !== 'T') continue;
    zombies.push(child);
    return 'cut off';
  }
}
