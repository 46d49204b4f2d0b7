/**
 * Changes of a column's type under which rows that no event touches keep the text they had, at the
 * source and in every destination that widens its own column. Everything else rewrites values that
 * the log does not carry.
 */
export function keepsText(from: string, to: string): boolean {
  if (from === to) return true;
  const [was, is] = [spelled(from), spelled(to)];
  const rank = INTEGERS.indexOf(was.base);
  if (rank >= 0) return INTEGERS.indexOf(is.base) > rank;
  if (was.base === 'numeric') return is.base === 'numeric' && numericGrows(was.limits, is.limits);
  if (TEXTS.has(was.base) && is.base === 'text') return true;
  if (was.base === 'text') return is.base === 'character varying' && is.limits.length === 0;
  if (was.base !== is.base || !GROWING.has(was.base)) return false;
  const [w = Infinity] = was.limits;
  const [i = Infinity] = is.limits;
  return i >= w;
}

const INTEGERS = ['smallint', 'integer', 'bigint'];
const TEXTS = new Set(['character varying', 'text']);
/** Types whose number in brackets is a limit that may grow. */
const GROWING = new Set([
  'character varying',
  'bit varying',
  'time without time zone',
  'time with time zone',
  'timestamp without time zone',
  'timestamp with time zone',
]);

function numericGrows(was: readonly number[], is: readonly number[]): boolean {
  if (is.length === 0) return true;
  if (was.length === 0) return false;
  return (is[0] as number) >= (was[0] as number) && (is[1] ?? 0) === (was[1] ?? 0);
}

/** `timestamp(3) without time zone` in its parts; an array is a type of its own. */
function spelled(native: string): { base: string; limits: readonly number[] } {
  if (native.endsWith('[]')) return { base: native, limits: [] };
  const limits = /\(([-0-9, ]+)\)/.exec(native)?.[1]?.split(',').map(Number) ?? [];
  return { base: native.replace(/\([-0-9, ]+\)/, '').trim(), limits };
}
