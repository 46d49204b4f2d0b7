import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { S3FaultProxy } from '../../../support/s3-fault-proxy.ts';
import { Lake } from './s3-fixture.ts';

const BYTES = 20 * 1024 * 1024;
/** More often than the client library tries by itself. */
const OFTEN = 6;

let lake: Lake;
let proxy: S3FaultProxy;
let store: ObjectStore;
let path: string;

beforeAll(async () => {
  lake = await Lake.start();
  const config = lake.connectionConfig('broken');
  proxy = await S3FaultProxy.listen(String(config['s3_endpoint']));
  store = openStore(readSettings({ ...config, s3_endpoint: proxy.url }));
  path = join(lake.scratch, 'large');
  writeFileSync(path, randomBytes(BYTES));
});

afterAll(async () => {
  store.close();
  await proxy[Symbol.asyncDispose]();
  await lake[Symbol.asyncDispose]();
});

function upload(key: string): Promise<boolean> {
  return store.uploadIfAbsent(key, path, BYTES, { 'headrace-claim': 'mine' });
}

test('S3-04: a completion answered by 200 with an error in it is a failure', async () => {
  const fault = proxy.break('CompleteMultipartUpload', /once/, 'false success');
  expect(await upload('broken/once')).toBe(true);
  await fault;
  expect(await lake.object('broken/once')).toHaveLength(BYTES);

  const always = proxy.break('CompleteMultipartUpload', /always/, 'false success', OFTEN);
  const attempts = async (): Promise<number> => {
    for (let failures = 0; ; failures++) {
      try {
        await upload('broken/always');
        return failures;
      } catch (error) {
        expect(error).toMatchObject({ code: 'DST_UNAVAILABLE' });
        expect(await lake.openUploads('broken/always')).toBe(0);
        expect(await lake.keys('broken/always')).toEqual([]);
      }
    }
  };
  expect(await attempts()).toBeGreaterThanOrEqual(1);
  await always;
});

test('S3-02: a large upload whose last answer is lost is there once, and known as ours', async () => {
  const fault = proxy.break('CompleteMultipartUpload', /lost/, 'lost');
  await upload('broken/lost').catch((error: unknown) =>
    expect(error).toMatchObject({ code: 'DST_UNAVAILABLE' }),
  );
  await fault;
  expect(await upload('broken/lost')).toBe(false);
  expect((await store.head('broken/lost'))?.['headrace-claim']).toBe('mine');
  expect(await lake.object('broken/lost')).toHaveLength(BYTES);
  expect(await lake.openUploads('broken/lost')).toBe(0);
});

test('S3-01: parts that are refused or whose answers are lost are sent again', async () => {
  const faults = [
    proxy.break('CreateMultipartUpload', /parts/, 'refused'),
    proxy.break('UploadPart', /parts/, 'refused'),
    proxy.break('UploadPart', /parts/, 'lost'),
  ];
  expect(await upload('broken/parts')).toBe(true);
  await Promise.all(faults);
  expect(await lake.object('broken/parts')).toHaveLength(BYTES);
});

test('S3-02: a request that is never answered is given up, and asked again', async () => {
  const small = join(lake.scratch, 'small');
  writeFileSync(small, 'PAR1');
  const fault = proxy.break('PutObject', /silent/, 'silent');
  const upload = store.uploadIfAbsent('broken/silent', small, 4, { 'headrace-claim': 'mine' });
  await fault;
  expect(await upload).toBe(false);
  expect((await store.head('broken/silent'))?.['headrace-claim']).toBe('mine');
}, 60_000);
