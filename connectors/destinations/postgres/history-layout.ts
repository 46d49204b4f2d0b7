import { typeOfSpelling } from './column-type.ts';
import type { TableColumn, TableLayout } from './table-layout.ts';

export const HISTORY_NAMES = {
  version: '_airbyte_unique_key_scd',
  from: '_airbyte_start_at',
  until: '_airbyte_end_at',
  active: '_airbyte_active_row',
} as const;

/** Where a version stands among those of its key, and which it is: an event comes once. */
export const PLACE_COLUMNS = ['_headrace_epoch', '_ab_cdc_lsn', '_headrace_seq'] as const;

const VERSION: TableColumn = { name: HISTORY_NAMES.version, ...typeOfSpelling('text') };
const VALIDITY: readonly TableColumn[] = [
  { name: HISTORY_NAMES.from, ...typeOfSpelling('timestamp with time zone') },
  { name: HISTORY_NAMES.until, ...typeOfSpelling('timestamp with time zone') },
  { name: HISTORY_NAMES.active, ...typeOfSpelling('integer') },
];
const CDC_COLUMNS = 3;

/** The versions of the rows of a classic, deduped table: its columns, and when each was so. */
export function historyLayout(flat: TableLayout, table: string): TableLayout {
  const [uniqueKey, ...fields] = flat.columns.slice(0, flat.sourceColumns);
  const own = flat.columns.slice(flat.sourceColumns);
  const columns = [
    uniqueKey as TableColumn,
    VERSION,
    ...fields,
    ...own.slice(0, CDC_COLUMNS),
    ...VALIDITY,
    ...own.slice(CDC_COLUMNS),
  ];
  const places = PLACE_COLUMNS.map((place) => columns.findIndex(({ name }) => name === place));
  // Behind the version's own key, everything is one further than in the flat table.
  const keys = [...flat.keys.map((index) => index + 1), ...places];
  const { schema, stream } = flat;
  const sourceColumns = flat.sourceColumns + 1;
  return { schema, table, mode: 'append', stream, columns, sourceColumns, keys };
}
