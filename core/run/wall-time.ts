/**
 * Clocks on walls: what a zone's clock shows at an instant, and at which instants it shows a time.
 * A wall time is written as the epoch milliseconds at which a clock in UTC shows it.
 */

const HOUR_MS = 3_600_000;
/** No zone puts its clock forward or back by more at once. */
const LONGEST_SHIFT_MS = 3 * HOUR_MS;

const formats = new Map<string, Intl.DateTimeFormat>();

/** Milliseconds by which the zone's clock is ahead of UTC at an instant. */
export function offsetAt(zone: string, instant: number): number {
  const known = formats.get(zone);
  const format =
    known ??
    new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  if (known === undefined) formats.set(zone, format);
  const second = Math.floor(instant / 1000) * 1000;
  // "3/8/2026, 03:00:00": faster to take apart than a list of parts.
  const [month, day, year, hour, minute, secondOf] = format.format(second).split(/\D+/).map(Number);
  const wall = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, secondOf);
  return wall - second;
}

/** True when the zone's clock was not changed shortly before. */
export function isSteady(zone: string, instant: number): boolean {
  return offsetAt(zone, instant) === offsetAt(zone, instant - LONGEST_SHIFT_MS);
}

/** The instants at which the zone's clock shows a wall time: one; two when the clock was put back;
 * none when it was put forward over it. In order. */
export function instantsOf(zone: string, wall: number): number[] {
  const near = wall - offsetAt(zone, wall);
  const offsets = new Set([
    offsetAt(zone, near - LONGEST_SHIFT_MS),
    offsetAt(zone, near),
    offsetAt(zone, near + LONGEST_SHIFT_MS),
  ]);
  return [...offsets]
    .map((offset) => wall - offset)
    .filter((instant) => instant + offsetAt(zone, instant) === wall)
    .toSorted((a, b) => a - b);
}

/** The instant at which the clock was put forward over a wall time that it never showed. */
export function endOfGap(zone: string, wall: number): number {
  let before = wall - offsetAt(zone, wall) - LONGEST_SHIFT_MS;
  let after = before + 2 * LONGEST_SHIFT_MS;
  const old = offsetAt(zone, before);
  while (after - before > 1000) {
    const middle = Math.floor((before + after) / 2000) * 1000;
    if (offsetAt(zone, middle) === old) before = middle;
    else after = middle;
  }
  return after;
}
