import { startRig, type Rig } from '../support/rig.ts';
import { runCell, siteFor, type CellResult } from './matrix-cell.ts';
import type { Action, Need, Point } from './matrix-points.ts';
import type { Site } from './matrix-site.ts';

export interface Cell {
  readonly point: Point;
  readonly action: Action;
}

export interface MatrixOptions {
  readonly cells: readonly Cell[];
  /** Sites that work at once on cells that keep the machine busy. */
  readonly busy: number;
  /** Sites that work at once on cells which mostly wait for a stopped process. */
  readonly waiting: number;
  report(result: CellResult): void;
}

/** Real servers for any number of sites. */
export function startMatrixRig(): Promise<Rig> {
  return startRig({
    roles: [],
    withMinio: true,
    // Sessions of a stopped process are ended by then.
    sourceSettings: { wal_sender_timeout: '10s' },
    targetSettings: { max_connections: '500' },
  });
}

/** Runs the cells, each on a site that no other cell uses at the time. */
export async function runMatrix(rig: Rig, options: MatrixOptions): Promise<CellResult[]> {
  const results: CellResult[] = [];
  const pool = (cells: readonly Cell[], sites: number, kind: string): Promise<void>[] => {
    const queue = [...cells];
    return Array.from({ length: Math.min(sites, queue.length) }, (_, index) =>
      work(rig, `${kind}${index}`, queue, (result) => {
        results.push(result);
        options.report(result);
      }),
    );
  };
  const isStop = ({ action }: Cell): boolean => action === 'stop';
  await Promise.all([
    ...pool(
      options.cells.filter((cell) => !isStop(cell)),
      options.busy,
      'busy',
    ),
    ...pool(options.cells.filter(isStop), options.waiting, 'waiting'),
  ]);
  return results;
}

/** Cells that need the same share a site; one that failed leaves its site to nobody. */
async function work(
  rig: Rig,
  name: string,
  queue: Cell[],
  report: (result: CellResult) => void,
): Promise<void> {
  let shared: { readonly need: Need; readonly site: Site } | null = null;
  for (let n = 0, cell = queue.shift(); cell !== undefined; n++, cell = queue.shift()) {
    const { needs } = cell.point;
    const need = needs === 'batches' ? 'changes' : needs;
    if (shared !== null && shared.need !== need) {
      await shared.site[Symbol.asyncDispose]();
      shared = null;
    }
    const site: Site = shared?.site ?? (await siteFor(rig, `${name}_${n}`, need));
    const result = await runCell(site, cell.point, cell.action);
    report(result);
    const isKept: boolean = need !== 'copy' && result.problems.length === 0;
    shared = isKept ? { need, site } : null;
    if (!isKept) await site[Symbol.asyncDispose]();
  }
  await shared?.site[Symbol.asyncDispose]();
}
