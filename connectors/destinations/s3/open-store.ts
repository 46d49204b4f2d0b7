import { LocalObjectStore } from './local-object-store.ts';
import type { ObjectStore } from './object-store.ts';
import { S3ObjectStore } from './s3-object-store.ts';
import type { S3Settings } from './settings.ts';

/** The store that the configuration names: a folder of this machine, or one that speaks S3. */
export function openStore(settings: S3Settings, signal?: AbortSignal): ObjectStore {
  if (settings.folder !== null) return new LocalObjectStore(settings.folder, settings.bucket);
  return new S3ObjectStore(settings, signal);
}
