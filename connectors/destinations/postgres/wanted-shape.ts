import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { Column } from '../../../schemas/envelope/stream-schema.ts';
import { pathKey, type FlatDocument } from '../../../schemas/normalize/flatten.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';
import { Observed, type Shape } from '../../../schemas/normalize/shape.ts';
import { airbyteType, airbyteTypeOfBoth, isDocument } from './airbyte-types.ts';
import { covers, widened } from './column-type.ts';
import type { InitialValues } from './initial-values.ts';
import type { OwnedTable } from './owned-table.ts';
import { showsRows } from './table-layout.ts';

/** What was observed, with the columns that the source declares in front. */
export function wantedShape(
  known: Shape,
  schemas: readonly ChangeSchema[],
  observed: Observed | null,
  owned: OwnedTable,
  { rules, initials }: { readonly rules: Rules; readonly initials: InitialValues },
): Observed {
  const all = new Observed(rules);
  const types = new Map(known[0]?.fields.map(({ path, type }) => [pathKey(path), type]));
  const declare = ({ name, type, inKey }: Column) => {
    const { ddl } = airbyteType(type, inKey, rules);
    const wide = wideType(types.get(pathKey([name])), ddl, owned, { name, rules });
    types.set(pathKey([name]), wide);
    all.column(name, wide);
  };
  for (const { columns } of schemas) {
    for (const column of columns) {
      const { name, type } = column;
      const isApart = isDocument(type, rules);
      // By the basic rules a document has no column of its own.
      if (!isApart || rules !== 'basic') declare(column);
      const document = isApart && showsRows(owned.name.mode) ? initials.flat(name) : undefined;
      if (document === undefined) continue;
      refuseNewChildren(known, document, owned, name);
      all.document(document);
    }
  }
  if (observed !== null) all.merge(observed);
  return all;
}

/** Rows that are there already would need child rows that no event brings. */
function refuseNewChildren(
  known: Shape,
  { children }: FlatDocument,
  { name: { stream } }: OwnedTable,
  column: string,
): void {
  const tables = new Set(known.map(({ path }) => pathKey(path)));
  if (known.length === 0 || children.every(({ table }) => tables.has(pathKey(table)))) return;
  throw new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column}" was added with a default that holds an array of objects; rows delivered before would need child rows`,
    { details: { stream, column } },
  );
}

function wideType(
  known: string | undefined,
  type: string,
  owned: OwnedTable,
  { name: column, rules }: { readonly name: string; readonly rules: Rules },
): string {
  if (known === undefined || covers(known, type)) return known ?? type;
  if (rules !== 'basic') return airbyteTypeOfBoth(known, type, rules);
  const wide = widened(known, type);
  if (wide !== null) return wide;
  const { stream } = owned.name;
  throw new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column}" is ${known} in the destination and became ${type}; that cannot be changed without losing values`,
    { details: { stream, column, from: known, to: type } },
  );
}
