/** What can be hit. A role has several instances; which of them is decided by who holds the lease at
 * that moment, so that a fault hits what is working (or what stands by) in every replay. */
export type Component =
  | 'source'
  | 'sink'
  | 'scheduler'
  | 'api'
  | 'broker'
  | 'sourceDb'
  | 'sourceLink'
  | 'targetDb'
  | 'minio';

export interface Fault {
  /** Milliseconds of stress before it, calm windows not counted. */
  readonly atMs: number;
  readonly kind: 'kill' | 'stop';
  readonly component: Component;
  /** For source and sink: the instance that works, or the one that waits. */
  readonly instance: 'active' | 'standby';
  /** Until it is started again (kill) or continued (stop). */
  readonly downMs: number;
}

type Weights = readonly (readonly [Component, number])[];

const WEIGHTS: Weights = [
  ['source', 22],
  ['sink', 22],
  ['broker', 12],
  ['sourceDb', 10],
  ['targetDb', 12],
  ['minio', 10],
  ['scheduler', 6],
  ['api', 6],
];

/** With the network between the source's server and Headrace. */
const WEIGHTS_WITH_LINK: Weights = [...WEIGHTS, ['sourceLink', 12]];

const MEAN_GAP_MS = 5_000;
const FIRST_MS = 2_000;
const LONG_STOP_MS = 70_000;

/** A small random generator (mulberry32): the same seed gives the same numbers on every machine. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * The faults of a run, in order of time. The first fault of each kind of component comes early, so
 * that a short run hits each of them once; later ones by weight.
 */
export function faultSchedule(seed: number, stressMs: number, withLink = false): Fault[] {
  const weights = withLink ? WEIGHTS_WITH_LINK : WEIGHTS;
  const random = randomOf(seed);
  const faults: Fault[] = [];
  const busyUntil = new Map<Component, number>();
  let unseen = weights.map(([component]) => component).toSorted(() => random() - 0.5);
  for (let at = FIRST_MS; at < stressMs; at += 1_500 + random() * 2 * (MEAN_GAP_MS - 1_500)) {
    const component = unseen[0] ?? weighted(weights, random);
    unseen = unseen.slice(1);
    const fault = draw(component, Math.round(at), random);
    // One instance of a role may be away for long; a second one as well would only mean waiting.
    if ((busyUntil.get(component) ?? 0) > at) continue;
    busyUntil.set(component, at + fault.downMs + 2_000);
    faults.push(fault);
  }
  return faults;
}

function draw(component: Component, atMs: number, random: () => number): Fault {
  if (component === 'sourceLink') {
    // Links end with a reset, or nothing passes for a while and none of both ends is told.
    const kind = random() < 0.5 ? 'kill' : 'stop';
    const downMs = kind === 'kill' ? 0 : Math.round(2_000 + random() * 10_000);
    return { atMs, kind, component, instance: 'active', downMs };
  }
  const worker = component === 'source' || component === 'sink';
  const stopped = worker && random() < 0.35;
  const instance = worker && random() < 0.25 ? 'standby' : 'active';
  if (stopped) {
    const long = random() < 0.2;
    const downMs = long ? LONG_STOP_MS : Math.round(7_000 + random() * 8_000);
    return { atMs, kind: 'stop', component, instance, downMs };
  }
  // Beyond the lease's 6 s the other instance takes over before this one comes back.
  const downMs = Math.round(worker && random() < 0.4 ? 7_000 + random() * 3_000 : random() * 1_500);
  return { atMs, kind: 'kill', component, instance, downMs };
}

function weighted(weights: Weights, random: () => number): Component {
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  let left = random() * total;
  for (const [component, weight] of weights) {
    left -= weight;
    if (left < 0) return component;
  }
  return 'source';
}
