import { expect, test } from 'vitest';
import { secretsLieInClear } from '../../../../core/config/secrets-at-rest.ts';

test('without a key secrets lie in clear, which production refuses', () => {
  const [keyless, keyed] = [{ secretKey: null }, { secretKey: 'a passphrase' }];
  const production = { NODE_ENV: 'production' };
  expect(secretsLieInClear(keyless, {})).toBe(true);
  expect(secretsLieInClear(keyed, {})).toBe(false);
  expect(secretsLieInClear(keyed, production)).toBe(false);
  expect(() => secretsLieInClear(keyless, production)).toThrow(
    expect.objectContaining({ code: 'CFG_SECRET_KEY_REQUIRED' }) as Error,
  );
});
