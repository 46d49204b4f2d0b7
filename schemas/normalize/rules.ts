/**
 * By which of Airbyte's rules a stream becomes tables. `basic`: objects become columns of their row,
 * arrays of objects child tables. `classic`: both become child tables, and stay in their row as
 * jsonb. `v2`: both are jsonb, and there are no child tables.
 */
export type Rules = 'basic' | 'classic' | 'v2';
