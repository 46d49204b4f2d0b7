import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openStore, type Store } from '../../../core/store/store.ts';
import { seedConnection } from './store-fixture.ts';

it('a store changes its key, and seals what was there before the first', async () => {
  const home = mkdtempSync(join(tmpdir(), 'headrace-reseal-'));
  const opened = (secretKey: string | null, secretKeyPrevious: string | null = null) =>
    openStore({ home, storeUrl: null, secretKey, secretKeyPrevious });
  const password = async (store: Store, id: string): Promise<unknown> =>
    (await store.actors.get('source', id)).configuration['password'];
  const plain = await opened(null);
  const { sourceId } = await seedConnection(plain);
  const { version } = (await plain.work.listWork()).sources[0] ?? {};
  await plain.close();

  const first = await opened('first key');
  expect(await first.reseal()).toBeGreaterThan(1);
  expect(await first.reseal()).toBe(0);
  await first.close();
  const both = await opened('second key', 'first key');
  expect(await password(both, sourceId)).toBe('hunter2');
  expect(await both.reseal()).toBeGreaterThan(1);
  expect((await both.work.listWork()).sources[0]?.version).toBe(version);
  await both.close();
  const second = await opened('second key');
  expect(await password(second, sourceId)).toBe('hunter2');
  await second.close();
  const old = await opened('first key');
  await expect(password(old, sourceId)).rejects.toThrow('another key');
  await old.close();
  rmSync(home, { recursive: true, force: true });
}, 240_000);
