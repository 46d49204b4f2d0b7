import { memoryBytes } from './quantity.ts';

type Requirements = Readonly<Record<string, unknown>>;

const KEPT_ONLY = ['cpu_request', 'cpu_limit', 'memory_request'];

/** Of a connection's `resourceRequirements`; undefined where it sets no limit. */
export function memoryLimitOf(requirements: unknown): number | undefined {
  const text = textOf((requirements ?? {}) as Requirements, 'memory_limit');
  return text === '' ? undefined : (memoryBytes(text) ?? undefined);
}

/** What is done about a connection's `resourceRequirements`, a sentence each: nobody should believe
 * in a limit that does not hold. */
export function resourceNotes(requirements: unknown): string[] {
  const given = (requirements ?? {}) as Requirements;
  const limit = memoryLimitOf(given);
  const kept = KEPT_ONLY.filter((field) => textOf(given, field) !== '');
  return [
    ...(limit === undefined
      ? []
      : [
          `resourceRequirements.memory_limit bounds the buffers of the delivery (${textOf(given, 'memory_limit')}); ` +
            "the source's are shared by all its connections",
        ]),
    ...(kept.length === 0
      ? []
      : [
          `resourceRequirements: ${kept.join(', ')} kept and not applied: ` +
            'connections of one process share its cores and its memory',
        ]),
  ];
}

function textOf(given: Requirements, field: string): string {
  const value = given[field];
  return typeof value === 'string' || typeof value === 'number' ? String(value).trim() : '';
}
