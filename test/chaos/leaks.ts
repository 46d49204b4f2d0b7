import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { isSameProcessAlive } from '../../core/run/process-alive.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { BUCKET, objectStore, query, type Rig } from '../support/rig.ts';
import type { TorturedSource } from './tortured-source.ts';

/** What is left over when everything rests: nothing but one slot. */
export async function leaks(rig: Rig, { hasSlot }: TorturedSource): Promise<string[]> {
  const slots = await query<{ slot_name: string }>(
    rig.source,
    `select slot_name::text from pg_replication_slots where $1 or slot_name <> 'headrace'`,
    [!hasSlot],
  );
  const tables = await query<{ name: string }>(
    rig.target,
    `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.relname like '\\_%' and n.nspname in ('mirror', 'history')
       and c.relname <> '_headrace_offsets'`,
  );
  return [
    ...slots.map(({ slot_name }) => `slot ${slot_name}`),
    ...tables.map(({ name }) => `table ${name}`),
    ...(await openUploads(rig.minio as LocalServer)).map((key) => `upload ${key}`),
    ...(await scratchOfTheDead(join(rig.folder, 'home', 'scratch'))).map(
      (name) => `scratch ${name}`,
    ),
  ];
}

async function openUploads(minio: LocalServer): Promise<string[]> {
  const objects = objectStore(minio);
  try {
    const { Uploads = [] } = await objects.send(
      new ListMultipartUploadsCommand({ Bucket: BUCKET }),
    );
    return Uploads.map(({ Key }) => Key ?? '');
  } finally {
    objects.destroy();
  }
}

/** Folders are named for their process, which a later start clears away when it has ended. */
async function scratchOfTheDead(folder: string): Promise<string[]> {
  const owners = await readdir(folder).catch(() => []);
  return owners.filter((owner) => !isSameProcessAlive(owner.slice(owner.lastIndexOf('.') + 1)));
}
