import { createHash, randomUUID } from 'node:crypto';
import {
  access,
  copyFile,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { isSameProcessAlive, OWN_PROCESS } from '../../../core/run/process-alive.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { folderError } from './errors.ts';
import type { ObjectStore, StoredObject } from './object-store.ts';

/** Our own files of a bucket: what is being written, and the objects' user metadata. Readers of data
 * folders skip a segment that begins with a dot. */
const OWN_FOLDER = '.headrace';
const STALE_MS = 3_600_000;

/**
 * A folder of this machine as an object store: a bucket is a folder in it, a key a path below. What
 * conditional writes are to S3 is here a hard link, which fails when the name is taken: an object
 * appears whole or not at all, once, and is on the disk before it does.
 */
export class LocalObjectStore implements ObjectStore {
  private readonly folder: string;
  private readonly root: string;
  private ready: Promise<void> | null = null;

  constructor(folder: string, bucket: string) {
    this.folder = folder;
    this.root = join(folder, bucket);
  }

  /** The bucket's folder is made on demand; the one that holds it is not, for it may be a disk that
   * is not mounted. */
  async bucketExists(): Promise<void> {
    await named('reading the folder', async () => {
      await access(this.folder);
      await mkdir(join(this.root, OWN_FOLDER, 'parts'), { recursive: true });
    });
  }

  putIfAbsent(key: string, body: string): Promise<boolean> {
    return this.write('writing an object', key, (part) => writeDurably(part, body), linkTo);
  }

  async put(key: string, body: string): Promise<void> {
    await this.write('writing an object', key, (part) => writeDurably(part, body), renameTo);
  }

  async get(key: string): Promise<string | null> {
    return named('reading an object', () => orNull(readFile(this.path(key), 'utf8')));
  }

  async head(key: string): Promise<Record<string, string> | null> {
    return named('reading an object', async () => {
      if ((await orNull(stat(this.path(key)))) === null) return null;
      const text = await orNull(readFile(this.metadataPath(key), 'utf8'));
      return text === null ? {} : (JSON.parse(text) as Record<string, string>);
    });
  }

  /** In the order of S3: by the keys' bytes. */
  async *list(prefix: string, after?: string): AsyncIterable<string> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const keys: Buffer[] = [];
    await named('listing objects', () => this.collect(folder, keys));
    const past = after === undefined ? null : Buffer.from(after);
    for (const bytes of keys.sort(Buffer.compare)) {
      const key = bytes.toString();
      if (key.startsWith(prefix) && (past === null || Buffer.compare(bytes, past) > 0)) yield key;
    }
  }

  async *objects(prefix: string): AsyncIterable<StoredObject> {
    for await (const key of this.list(prefix)) {
      const found = await named('listing objects', () => orNull(stat(this.path(key))));
      if (found !== null) yield { key, bytes: found.size };
    }
  }

  private async collect(folder: string, keys: Buffer[]): Promise<void> {
    const entries = await orNull(readdir(join(this.root, folder), { withFileTypes: true }));
    for (const entry of entries ?? []) {
      const key = `${folder}${entry.name}`;
      if (!entry.isDirectory()) keys.push(Buffer.from(key));
      else if (key !== OWN_FOLDER) await this.collect(`${key}/`, keys);
    }
  }

  async delete(key: string): Promise<void> {
    await named('deleting an object', async () => {
      await rm(this.path(key), { force: true });
      await rm(this.metadataPath(key), { force: true });
    });
  }

  async copy(from: string, to: string): Promise<void> {
    const make = (part: string): Promise<void> => link(this.path(from), part);
    await this.write('copying an object', to, make, renameTo);
  }

  async download(key: string, path: string): Promise<boolean> {
    return named('reading an object', async () => {
      return (await orNull(copyFile(this.path(key), path).then(() => true))) ?? false;
    });
  }

  /** The metadata is there before the object: whoever finds the one can read the other. */
  uploadIfAbsent(
    key: string,
    path: string,
    _bytes: number,
    metadata: Record<string, string>,
  ): Promise<boolean> {
    const make = async (part: string): Promise<void> => {
      await copyFile(path, part);
      await syncFile(part);
      const sidecar = this.metadataPath(key);
      if ((await orNull(stat(sidecar))) !== null) return;
      const half = `${part}.metadata`;
      await writeDurably(half, JSON.stringify(metadata));
      await rename(half, sidecar);
    };
    return this.write('uploading a file', key, make, linkTo);
  }

  async abortUploads(key: string): Promise<void> {
    await named('removing unfinished uploads', () => this.sweep(partName(key)));
  }

  close(): void {}

  /** Makes the content under a name of its own, then gives it its place. */
  private async write(
    action: string,
    key: string,
    make: (part: string) => Promise<void>,
    place: (part: string, path: string) => Promise<boolean>,
  ): Promise<boolean> {
    await (this.ready ??= this.prepare());
    return named(action, async () => {
      const path = this.path(key);
      const made = await mkdir(dirname(path), { recursive: true });
      if (made !== undefined) await syncFile(dirname(made));
      const part = join(this.partsFolder, `${partName(key)}${randomUUID()}`);
      try {
        await make(part);
        const placed = await place(part, path);
        await syncFile(dirname(path));
        return placed;
      } finally {
        await rm(part, { force: true });
      }
    });
  }

  private async prepare(): Promise<void> {
    await this.bucketExists();
    await named('preparing the folder', async () => {
      await mkdir(join(this.root, OWN_FOLDER, 'metadata'), { recursive: true });
      await this.sweep(null);
    });
  }

  /** Removes what writers that are gone have left, and all that is under way under one name. */
  private async sweep(name: string | null): Promise<void> {
    for (const file of (await orNull(readdir(this.partsFolder))) ?? []) {
      const path = join(this.partsFolder, file);
      if ((name !== null && file.startsWith(name)) || (await isLeftOver(file, path))) {
        await rm(path, { force: true });
      }
    }
  }

  private get partsFolder(): string {
    return join(this.root, OWN_FOLDER, 'parts');
  }

  private path(key: string): string {
    return join(this.root, key);
  }

  private metadataPath(key: string): string {
    return join(this.root, OWN_FOLDER, 'metadata', `${digest(key, 40)}.json`);
  }
}

function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

const HOST = digest(hostname(), 8);

/** The object's name, this machine and this process. */
function partName(key: string): string {
  return `${digest(key, 16)}.${HOST}.${OWN_PROCESS}.`;
}

/** A part of a process of this machine that has ended, or of any machine that is an hour old. */
async function isLeftOver(file: string, path: string): Promise<boolean> {
  const [, host, owner = ''] = file.split('.');
  if (host === HOST && !isSameProcessAlive(owner)) return true;
  const found = await orNull(stat(path));
  return found !== null && Date.now() - found.mtimeMs > STALE_MS;
}

async function writeDurably(path: string, body: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(body);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function linkTo(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** rename() of two links to one file does nothing and keeps both: hence the unlink. */
async function renameTo(part: string, path: string): Promise<boolean> {
  await rename(part, path);
  await unlink(part).catch(() => undefined);
  return true;
}

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

async function named<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof PipelineError ? error : folderError(error, action);
  }
}
