import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isSecretReference, resolveSecret } from '../../../../core/config/secret-references.ts';

const root = mkdtempSync(join(tmpdir(), 'headrace-secrets-'));
const folder = join(root, 'secrets');
const env = {
  HEADRACE_SECRET_FOLDER: folder,
  HEADRACE_API_TOKEN: 'canary-token',
  CONNECTOR_SECRET_DB: 'from the environment',
  CONNECTOR_SECRET_EMPTY: '',
  PATH: 'canary-path',
};

beforeAll(() => {
  mkdirSync(folder);
  writeFileSync(join(folder, 'db'), 'from a file\n');
  writeFileSync(join(folder, 'large'), 'x'.repeat(70_000));
  writeFileSync(join(root, 'outside'), 'canary-file');
  symlinkSync(join(root, 'outside'), join(folder, 'link'));
});
afterAll(() => rmSync(root, { recursive: true }));

describe('references to secrets', () => {
  it('stand for a variable or a file', () => {
    expect(resolveSecret('${env:CONNECTOR_SECRET_DB}', env)).toBe('from the environment');
    expect(resolveSecret('${file:db}', env)).toBe('from a file');
  });

  it('are whole values; anything else is a secret as it is', () => {
    for (const value of ['x', '${NAMESPACE}', 'a${env:CONNECTOR_SECRET_DB}', '', 7, null]) {
      expect(isSecretReference(value)).toBe(false);
      expect(resolveSecret(value, env)).toBe(value);
    }
  });

  it('lead to nothing but what the operator names', () => {
    for (const reference of [
      '${env:PATH}',
      '${env:HEADRACE_API_TOKEN}',
      '${env:CONNECTOR_SECRET_NONE}',
      '${env:CONNECTOR_SECRET_EMPTY}',
      '${env:__proto__}',
      '${file:../outside}',
      '${file:link}',
      '${file:/etc/passwd}',
      '${file:none}',
      '${file:large}',
      '${file:.}',
      '${file:..}',
    ]) {
      let message = '';
      try {
        resolveSecret(reference, env);
      } catch (error) {
        expect(error, reference).toMatchObject({ code: 'CFG_SECRET_REFERENCE' });
        message = (error as Error).message;
      }
      expect(message, reference).toContain(reference);
      expect(message).not.toContain('canary');
    }
    const noFolder = { CONNECTOR_SECRET_DB: 'x' };
    expect(() => resolveSecret('${file:db}', noFolder)).toThrow(
      /HEADRACE_SECRET_FOLDER is not set/,
    );
  });
});
