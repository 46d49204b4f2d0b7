import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What one event costs in a stage. */
export interface StageCost {
  /** CPU, as a multiple of the calibration loop's 1,000 bytes on the same machine, at the same time. */
  readonly cpu: number;
  /** Bytes of objects on the heap; what lies in buffers is not among them. */
  readonly heapBytes: number;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const HEAP_ROUNDS = 5;
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 60;
const LEAST_MICROS = 10_000;
const CALIBRATION = Buffer.alloc(100_000, 'calibration');

/** Byte by byte as the stages work: load, mix, store. */
function calibrate(): number {
  let hash = 0;
  for (let i = 0; i < CALIBRATION.length; i++) {
    hash = Math.imul(hash ^ (CALIBRATION[i] as number), 0x01000193);
    CALIBRATION[i] = hash & 0x7f;
  }
  return hash;
}

/**
 * Stage and calibration by turns, so that whatever slows the machine slows both; of each the best
 * round, because others can only add. It goes on until the stage is below `limit` or has had every
 * chance. `work` handles `events` events and leaves nothing behind.
 */
export function stageCost(events: number, limit: StageCost, work: () => void): StageCost {
  const stageTimes = timesToFill(work);
  const loopTimes = timesToFill(calibrate);
  let stage = Infinity;
  let loop = Infinity;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    if (round >= LEAST_ROUNDS && stage / loop < limit.cpu) break;
    loop = Math.min(loop, cpuMicros(calibrate, loopTimes) / (CALIBRATION.length / 1000));
    stage = Math.min(stage, cpuMicros(work, stageTimes) / events);
  }
  return { cpu: stage / loop, heapBytes: heapBytes(work) / events };
}

/** Calls that take long enough for the system's clock of CPU; warms up as well. */
function timesToFill(work: () => unknown): number {
  for (let times = 1; ; times *= 2) {
    if (cpuMicros(work, times) * times >= LEAST_MICROS) return times;
  }
}

/** CPU of one call, all threads: what the collector does on others is a part of the cost. */
function cpuMicros(work: () => unknown, times: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times;
}

/** A collection in the middle makes a round too small, and what the compiler does beside it one too
 * large: the middle one counts. */
function heapBytes(work: () => void): number {
  const rounds = Array.from({ length: HEAP_ROUNDS }, () => {
    collect();
    const before = process.memoryUsage().heapUsed;
    work();
    return process.memoryUsage().heapUsed - before;
  });
  return rounds.toSorted((a, b) => a - b)[(HEAP_ROUNDS - 1) / 2] as number;
}
