import { randomUUID } from 'node:crypto';
import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { CheckResult } from '../../spi/connector.ts';
import type { ObjectStore } from './object-store.ts';
import { openStore } from './open-store.ts';
import { readSettings, type S3Settings } from './settings.ts';

/** Does once, under a name of its own, everything that delivery will do. */
export async function check(config: Record<string, unknown>): Promise<CheckResult> {
  let settings: S3Settings;
  try {
    settings = readSettings(config);
  } catch (error) {
    return { ok: false, message: toPipelineError(error).message };
  }
  const store = openStore(settings);
  try {
    return await probe(settings, store);
  } catch (error) {
    return { ok: false, message: advice(toPipelineError(error), settings) };
  } finally {
    store.close();
  }
}

async function probe(settings: S3Settings, store: ObjectStore): Promise<CheckResult> {
  await store.bucketExists();
  const root = settings.bucketPath.split('${')[0]?.replace(/^\/+|\/?$/g, '') ?? '';
  const prefix = `${root === '' ? '' : `${root}/`}_headrace/check/`.replace(/\/{2,}/g, '/');
  const key = `${prefix}${randomUUID()}.json`;
  const body = '{"headrace":"check"}';
  const warnings: string[] = [];
  try {
    await store.putIfAbsent(key, body);
    if (await store.putIfAbsent(key, body)) {
      return {
        ok: false,
        message:
          'the store overwrote an object although it was asked not to (If-None-Match: *): rows would be delivered twice after a crash; use a store with conditional writes, such as Amazon S3 or MinIO of 2023 or later',
      };
    }
    if ((await store.get(key)) !== body) {
      return { ok: false, message: 'an object that was just written reads differently' };
    }
    if (!(await listed(store, prefix, key))) {
      return { ok: false, message: 'an object that was just written is missing from the listing' };
    }
    await store.abortUploads(key).catch(() => {
      warnings.push('unfinished uploads cannot be listed: allow s3:ListBucketMultipartUploads');
    });
  } finally {
    await store.delete(key);
  }
  const message = `bucket ${settings.bucket} can be written, read, listed and deleted from`;
  return warnings.length === 0 ? { ok: true, message } : { ok: true, message, warnings };
}

async function listed(store: ObjectStore, prefix: string, key: string): Promise<boolean> {
  for await (const found of store.list(prefix)) if (found === key) return true;
  return false;
}

function advice(error: PipelineError, settings: S3Settings): string {
  const where = settings.folder ?? settings.endpoint ?? `Amazon S3 in ${settings.region}`;
  switch (error.code) {
    case 'DST_BUCKET_MISSING':
      if (settings.folder !== null) return `there is no folder ${settings.folder}: create it`;
      return `there is no bucket ${settings.bucket} at ${where}: create it, or correct s3_bucket_name`;
    case 'DST_AUTH':
      return `${where} does not accept the keys: correct access_key_id and secret_access_key (${error.message})`;
    case 'DST_PRIVILEGE':
      if (settings.folder !== null) return `the folder ${where} may not be written to`;
      return `the keys are wrong or may not do this on bucket ${settings.bucket}: allow s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucketMultipartUploads and s3:AbortMultipartUpload (${error.message})`;
    case 'DST_UNAVAILABLE':
      return `${where} cannot be reached: check s3_endpoint and that the store is running (${error.message})`;
    default:
      return `${error.message}. ${error.spec.fix}`;
  }
}
