export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Least squares: how much `y` grows by a unit of `x`. */
export function slope(points: readonly Point[]): number {
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / points.length;
  const top = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0);
  const bottom = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  return bottom === 0 ? 0 : top / bottom;
}
