import type { TableComparison } from './comparison.ts';
import { percentile } from './workload.ts';

export interface Outcome {
  readonly tables: readonly TableComparison[];
  /** Rows of the first copy and rows changed afterwards, per table. */
  readonly loaded: ReadonlyMap<string, number>;
  readonly changes: ReadonlyMap<string, number>;
  /** Milliseconds from a commit's answer to visible in the target. */
  readonly latencies: readonly number[];
  readonly transactions: number;
}

/** The demo's last lines, and whether all that should be equal is. */
export function summarize(outcome: Outcome): { lines: string[]; equal: boolean } {
  const rows = outcome.tables.map((table) => ({ table, events: eventsOf(outcome, table) }));
  const equal = rows.every(({ table, events }) => isEqual(table, events));
  const sum = (count: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((total, row) => total + count(row), 0);
  const [p50, p99] = [0.5, 0.99].map((share) => percentile(outcome.latencies, share).toFixed(1));
  return {
    equal,
    lines: [
      '',
      'Rows of each table: at the source; in Postgres; in Parquet, one for each row of the first copy',
      "and each change since; and what Parquet's newest row per key leaves",
      ...rows.map(({ table, events }) => tableLine(table, events)),
      `Commit to visible in the target: p50 ${p50} ms, p99 ${p99} ms (${outcome.latencies.length} probes beside ${outcome.transactions} transactions)`,
      `${equal ? 'EQUAL' : 'DIFFERENT'}: the source holds ${sum((r) => r.table.sourceRows)} rows, Postgres ${sum((r) => r.table.targetRows)}, Parquet ${sum((r) => r.table.parquetRows)} for ${sum((r) => r.events)} events, which leave ${sum((r) => r.table.parquetKeys)}`,
    ],
  };
}

function eventsOf({ loaded, changes }: Outcome, { table }: TableComparison): number {
  return (loaded.get(table) ?? 0) + (changes.get(table) ?? 0);
}

function isEqual(table: TableComparison, events: number): boolean {
  return table.equal && table.parquetKeys === table.sourceRows && table.parquetRows === events;
}

function tableLine(table: TableComparison, events: number): string {
  const verdict = isEqual(table, events) ? 'equal' : 'DIFFERENT';
  return `  ${table.table.padEnd(12)} ${table.sourceRows} = ${table.targetRows}; Parquet ${table.parquetRows} of ${events} events, ${table.parquetKeys} left: ${verdict}`;
}
