import { resolve } from 'node:path';
import { PipelineError } from '../errors/pipeline-error.ts';
import { nearest } from './nearest.ts';
import { SETTINGS, type SettingName, type SettingSpec } from './setting-table.ts';

export { SETTINGS } from './setting-table.ts';

type CamelTail<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Capitalize<Lowercase<Head>>}${CamelTail<Tail>}`
  : Capitalize<Lowercase<S>>;
type CamelName<S extends string> = S extends `HEADRACE_${infer Rest}`
  ? Uncapitalize<CamelTail<Rest>>
  : never;

type Value<S extends SettingSpec> = S extends { type: 'integer' }
  ? number
  : S extends { type: 'switch' }
    ? boolean
    : S extends { type: 'list' }
      ? readonly string[]
      : S extends { type: 'choice'; choices: readonly (infer C)[]; default: infer D }
        ? D extends null
          ? C | null
          : C
        : S extends { default: string }
          ? string
          : string | null;

/** The effective settings: `HEADRACE_KAFKA_BROKERS` is `kafkaBrokers`, and so on. A text that is not
 * set and has no default is null, a list is empty. */
export type Settings = {
  readonly [K in SettingName as CamelName<K>]: Value<(typeof SETTINGS)[K]>;
};

export interface SettingDescription {
  readonly name: SettingName;
  /** Effective value; `**********` for a secret that is set. */
  readonly value: string | number | boolean | null;
  readonly description: string;
}

type Raw = string | number | boolean | null | readonly string[];

/**
 * Reads every HEADRACE_* variable, and Airbyte's for some; an empty one counts as not set.
 * Throws one CFG_INVALID_SETTING whose message has a line for each thing that is wrong, unknown
 * names included: a misspelt name that was ignored would run with a default nobody asked for.
 */
export function loadSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const wrong = unknownNames(env);
  const values: Record<string, Raw> = {};
  for (const [name, spec] of Object.entries(SETTINGS) as [SettingName, SettingSpec][]) {
    const [given, text] = givenAs(env, name, spec);
    const parsed = text === '' ? { value: defaultOf(spec) } : parse(spec, text);
    if ('wrong' in parsed) wrong.push(`${given} ${parsed.wrong}`);
    else values[camelName(name)] = parsed.value;
  }
  if (env['NODE_ENV'] === 'production' && values['failpoints'] !== null) {
    wrong.push('HEADRACE_FAILPOINTS is for tests only and refused while NODE_ENV is production');
  }
  if (wrong.length > 0) {
    throw new PipelineError('CFG_INVALID_SETTING', wrong.join('\n'), {
      details: { wrong: wrong.length },
    });
  }
  return Object.freeze(values) as Settings;
}

/** The name under which a setting is given, and its text; '' when it is not set. */
function givenAs(
  env: Readonly<Record<string, string | undefined>>,
  name: SettingName,
  { alias }: SettingSpec,
): [string, string] {
  const own = env[name]?.trim() ?? '';
  return own !== '' || alias === undefined ? [name, own] : [alias, env[alias]?.trim() ?? ''];
}

/** For `headrace config`: every setting in the table's order, secrets masked (invariant 8). */
export function describeSettings(settings: Settings): SettingDescription[] {
  const values = settings as unknown as Record<string, Raw>;
  return (Object.entries(SETTINGS) as [SettingName, SettingSpec][]).map(([name, spec]) => {
    const value = values[camelName(name)] ?? null;
    return { name, value: shown(spec, value), description: spec.description };
  });
}

function shown(spec: SettingSpec, value: Raw): string | number | boolean | null {
  const text = Array.isArray(value) ? value.join(',') : (value as string | number | boolean | null);
  if (text === null || text === '') return null;
  if (spec.secret) return '**********';
  return typeof text === 'string' ? withoutPassword(text) : text;
}

/** A URL's password hides in a setting that is otherwise worth seeing. */
function withoutPassword(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/[^:/@\s]*):[^@/\s]*@/i, '$1:**********@');
}

function unknownNames(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = Object.keys(SETTINGS);
  return Object.keys(env)
    .filter((name) => name.startsWith('HEADRACE_') && !known.includes(name))
    .map((name) => `${name} is not a setting; did you mean ${nearest(name, known)}?`);
}

function defaultOf(spec: SettingSpec): Raw {
  if (spec.type === 'list') return Object.freeze([]);
  if (spec.type === 'folder' && spec.default !== null) return resolve(spec.default);
  return spec.default;
}

function parse(spec: SettingSpec, text: string): { value: Raw } | { wrong: string } {
  switch (spec.type) {
    case 'text':
      return { value: text };
    case 'folder':
      return { value: resolve(text) };
    case 'list':
      return parseList(text);
    case 'integer':
      return parseInteger(spec, text);
    case 'switch':
      return parseSwitch(text);
    case 'choice':
      return spec.choices.includes(text)
        ? { value: text }
        : { wrong: `must be one of ${spec.choices.join(', ')}` };
    case 'url':
      return parseUrl(spec, text);
  }
}

function parseList(text: string): { value: Raw } {
  const parts = text.split(',').map((part) => part.trim());
  return { value: Object.freeze(parts.filter((part) => part !== '')) };
}

function parseInteger(
  spec: { min: number; max: number },
  text: string,
): { value: Raw } | { wrong: string } {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= spec.min && value <= spec.max
    ? { value }
    : { wrong: `must be a whole number from ${spec.min} to ${spec.max}` };
}

function parseSwitch(text: string): { value: Raw } | { wrong: string } {
  const word = text.toLowerCase();
  if (['true', 'yes', 'on', '1'].includes(word)) return { value: true };
  if (['false', 'no', 'off', '0'].includes(word)) return { value: false };
  return { wrong: 'must be yes or no' };
}

function parseUrl(
  spec: { schemes: readonly string[] },
  text: string,
): { value: Raw } | { wrong: string } {
  const scheme = URL.canParse(text) ? new URL(text).protocol.slice(0, -1) : '';
  // The text is not repeated: a URL may hold a password (invariant 8).
  return spec.schemes.includes(scheme)
    ? { value: text }
    : {
        wrong: `must be a URL that begins with ${spec.schemes.map((s) => `${s}://`).join(' or ')}`,
      };
}

function camelName(name: SettingName): string {
  const words = name.toLowerCase().split('_').slice(1);
  return words.map((word, i) => (i === 0 ? word : word[0]?.toUpperCase() + word.slice(1))).join('');
}
