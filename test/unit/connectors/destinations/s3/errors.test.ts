import { expect, test } from 'vitest';
import { spoolError, storeError } from '../../../../../connectors/destinations/s3/errors.ts';

test.each([
  ['XMinioStorageFull', 507, 'DST_DISK_FULL'],
  ['Unknown', 507, 'DST_DISK_FULL'],
  ['InvalidAccessKeyId', 403, 'DST_AUTH'],
  ['AccessDenied', 403, 'DST_PRIVILEGE'],
  ['403', 403, 'DST_PRIVILEGE'],
  ['NoSuchBucket', 404, 'DST_BUCKET_MISSING'],
  ['SlowDown', 503, 'DST_UNAVAILABLE'],
  ['TooManyRequests', 429, 'DST_UNAVAILABLE'],
  ['TimeoutError', undefined, 'DST_UNAVAILABLE'],
  ['ECONNREFUSED', undefined, 'DST_UNAVAILABLE'],
  ['RequestTimeTooSkewed', 403, 'DST_CLOCK_SKEW'],
  ['EntityTooLarge', 400, 'BUG_UNEXPECTED'],
])('the store says %s with status %s', (name, httpStatusCode, code) => {
  const thrown = Object.assign(new Error('key AKIA-SECRET'), {
    name,
    $metadata: { httpStatusCode },
  });
  const error = storeError(thrown, 'writing an object');
  expect(error.code).toBe(code);
  expect(error.message).toBe(`writing an object failed: ${name}`);
});

test("a full scratch disk is not the destination's", () => {
  expect(spoolError(Object.assign(new Error('write'), { code: 'ENOSPC' })).code).toBe(
    'SNK_SCRATCH_FULL',
  );
});
