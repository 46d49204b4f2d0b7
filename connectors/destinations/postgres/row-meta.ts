/** What became of a field on its way into a row, in the words of Airbyte's protocol. */
export interface FieldChange {
  readonly field: string;
  readonly change: 'NULLED' | 'TRUNCATED';
  readonly reason: string;
}

/** The text of `_airbyte_meta`. */
export function rowMeta(changes: readonly FieldChange[]): string {
  return JSON.stringify({ changes });
}

export function readRowMeta(text: string): readonly FieldChange[] {
  const { changes = [] } = JSON.parse(text) as { changes?: readonly FieldChange[] };
  return changes;
}
