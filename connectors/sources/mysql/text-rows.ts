import { NULL_CELL } from '../../capture/row-codec.ts';
import type { TableFacts } from './catalog.ts';
import type { CellPlan } from './column-types.ts';
import { quoteIdentifier } from './session.ts';

/** A table's columns as a query is to print them, to be read by the plans of `textPlan`. FLOAT is
 * printed with six digits, DOUBLE(M,D) with D behind the point: as products they are exact. */
export function printedColumns(table: Pick<TableFacts, 'columns'>): string[] {
  return table.columns.map(({ name, dataType }) => {
    const column = quoteIdentifier(name);
    return dataType === 'float' || dataType === 'double' ? `${column} * 1e0` : column;
  });
}

export function fromTable({ stream }: Pick<TableFacts, 'stream'>): string {
  return `${quoteIdentifier(stream.namespace)}.${quoteIdentifier(stream.name)}`;
}

/** Turns cells that are no day of the calendar into nulls, in place. */
export function forgetNoDays(plans: readonly CellPlan[], bytes: Buffer, spans: Int32Array): void {
  for (let i = 0; i < plans.length; i++) {
    const noDay = plans[i]?.noDay ?? null;
    const start = spans[i * 2] as number;
    if (noDay === null || start < 0) continue;
    if (noDay(bytes, start, spans[i * 2 + 1] as number)) spans[i * 2] = NULL_CELL;
  }
}
