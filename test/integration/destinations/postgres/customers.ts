import type { Columns } from './event-log.ts';
import type { TestTarget } from './target.ts';

/** The guide's example, as a table with two json columns. */
export const CUSTOMERS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
  contact: { kind: 'json', native: 'json' },
  addresses: { kind: 'json', native: 'json' },
};

export const ACME = {
  id: 1,
  name: 'Acme Corp',
  contact: '{"email": "info@acme.com", "phone": "+1234567890"}',
  addresses: '[{"type": "billing", "city": "New York"}, {"type": "shipping", "city": "Boston"}]',
};

/** Names and types of a table's columns, in its order. */
export async function columnsOf(target: TestTarget, table: string): Promise<string[]> {
  const rows = await target.rows(
    `SELECT attname || ' ' || format_type(atttypid, atttypmod) AS c FROM pg_attribute
     WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
  );
  return rows.map(({ c }) => String(c).replace('timestamp with time zone', 'timestamptz'));
}

/** Columns of the classic rules behind the fields. */
export const CLASSIC_CDC = [
  '_ab_cdc_lsn bigint',
  '_ab_cdc_updated_at timestamptz',
  '_ab_cdc_deleted_at timestamptz',
];
export const CLASSIC_EVENT = [
  '_airbyte_ab_id uuid',
  '_airbyte_emitted_at timestamptz',
  '_airbyte_normalized_at timestamptz',
];
export const PLACE = ['_headrace_epoch integer', '_headrace_seq integer'];
