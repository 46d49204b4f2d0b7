import { PipelineError } from '../../core/errors/pipeline-error.ts';

/** Rows of a stream whose key changes under way would land beside their older selves. */
export function refuseOtherKey(
  label: string,
  key: readonly string[],
  stored: readonly string[] | undefined,
): void {
  if (stored === undefined || stored.join('\u0000') === key.join('\u0000')) return;
  const was = stored.length === 0 ? 'no key' : `the key (${stored.join(', ')})`;
  const is = key.length === 0 ? 'none' : `(${key.join(', ')})`;
  throw new PipelineError(
    'SRC_NO_REPLICA_IDENTITY',
    `table ${label} was read with ${was} and now has ${is}`,
    { details: { stream: label } },
  );
}
