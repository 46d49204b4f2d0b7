import { readFileSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { PipelineError } from '../errors/pipeline-error.ts';
import { loadSettings, type Settings } from './settings.ts';

const REFERENCE = /^\$\{(env|file):([^}]+)\}$/;
const MAX_FILE_BYTES = 64 << 10;

type Environment = Readonly<Record<string, string | undefined>>;

/** `${env:NAME}` and `${file:name}` stand for a secret that is never stored or shown. */
export function isSecretReference(value: unknown): value is string {
  return typeof value === 'string' && REFERENCE.test(value);
}

/**
 * What a reference stands for, read now, so that a rotated secret counts from the next connection
 * on; any other value as it is. Who may write a configuration must not read this process's other
 * secrets by it: names begin with HEADRACE_SECRET_ENV_PREFIX, files lie in HEADRACE_SECRET_FOLDER.
 * Throws CFG_SECRET_REFERENCE.
 */
export function resolveSecret(value: unknown, env: Environment = process.env): unknown {
  const [, kind, name = ''] = (typeof value === 'string' && REFERENCE.exec(value)) || [];
  switch (kind) {
    case 'env':
      return fromEnvironment(name, env, loadSettings(env));
    case 'file':
      return fromFile(name, loadSettings(env));
    default:
      return value;
  }
}

function fromEnvironment(name: string, env: Environment, { secretEnvPrefix }: Settings): string {
  if (!name.startsWith(secretEnvPrefix) || name.startsWith('HEADRACE_')) {
    throw refused(`\${env:${name}} must name a variable that begins with ${secretEnvPrefix}`);
  }
  const value = env[name] ?? '';
  if (value === '') throw refused(`\${env:${name}} is not set in the environment of this process`);
  return value;
}

function fromFile(name: string, { secretFolder }: Settings): string {
  if (secretFolder === null) {
    throw refused(`\${file:${name}} cannot be read: HEADRACE_SECRET_FOLDER is not set`);
  }
  let text: string;
  try {
    // A link inside the folder may point anywhere: what counts is where it leads.
    const path = realpathSync(join(secretFolder, name));
    if (!path.startsWith(realpathSync(secretFolder) + sep)) throw new Error('outside');
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('too large');
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw refused(`\${file:${name}} is no readable file of HEADRACE_SECRET_FOLDER`, cause);
  }
  return text.replace(/\r?\n$/, '');
}

function refused(message: string, cause?: unknown): PipelineError {
  return new PipelineError('CFG_SECRET_REFERENCE', message, { cause });
}
