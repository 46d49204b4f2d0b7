import { existsSync, linkSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Lake } from './s3-fixture.ts';

/** Takes a connection's appended files out of a store as a reader does that then works on its own disk:
 * the names of rebuilds first, then what the list of files names. A file is fetched once. */
export class AppendedMirror {
  readonly prefix: string;
  private readonly lake: Lake;
  private readonly connection: string;
  private readonly kept: string;

  constructor(lake: Lake, connection: string) {
    this.lake = lake;
    this.connection = connection;
    this.prefix = `${connection}/production_public/customers/`;
    this.kept = mkdtempSync(join(lake.scratch, 'kept-'));
  }

  /** A folder with all of them in it, and the keys that they have in the store. */
  async take(): Promise<{ readonly folder: string; readonly keys: readonly string[] }> {
    const { lake, prefix } = this;
    const folder = mkdtempSync(join(lake.scratch, 'mirror-'));
    mkdirSync(join(folder, '_rebuilds'));
    for (const key of await lake.keys(`${prefix}_rebuilds/`)) {
      writeFileSync(join(folder, '_rebuilds', basename(key)), '');
    }
    const keys = (await lake.files(this.connection)).filter((key) => key.startsWith(prefix));
    for (const key of keys) {
      const kept = join(this.kept, encodeURIComponent(key));
      if (!existsSync(kept)) writeFileSync(kept, await lake.object(key));
      linkSync(kept, join(folder, basename(key)));
    }
    return { folder, keys };
  }
}
