import { controlPrefix, fileMark, offsetText, ownerMark, rebuildsFolder } from './object-key.ts';
import type { PartitionTarget } from '../../spi/destination.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Settings } from './settings.ts';

/**
 * Appended files made anew from the topic. A rebuild has a number, a chain of claims of its own, and
 * files whose names have that number; nobody reads them before `_rebuilds/<mark>-<number>.json` is in
 * the stream's folder: that it appears is the switch, one object and one request. The files of lower
 * numbers then count for nothing. Both kinds of object are made with If-None-Match and never
 * removed, so that no number is given twice.
 */
export interface Rebuild {
  readonly version: 1;
  /** Random; tells a write whose answer was lost from another instance's. */
  readonly id: string;
  readonly number: number;
  /** The order that it carries out. */
  readonly replay: string;
  /** Offset it begins at. */
  readonly from: number;
  /** It is shown when it has everything before this offset. */
  readonly until: number;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
}

/** What readers find of a rebuild. */
export interface ShownRebuild extends Rebuild {
  readonly connectionId: string;
  readonly topic: string;
  readonly partition: number;
  /** Where its rows end at the switch; the files behind that are appended as ever. */
  readonly next: number;
  readonly files: number;
  readonly rows: number;
}

/** Files of a partition that are the stream together: number 0 those delivered first, else a rebuild. */
export interface FileSet {
  readonly number: number;
  /** In the names of its files. */
  readonly mark: string;
  /** Folder of its claims, with a slash behind. */
  readonly prefix: string;
}

export class Rebuilds {
  private readonly store: ObjectStore;
  private readonly mark: string;
  private readonly control: string;
  private readonly folder: string;

  constructor(
    store: ObjectStore,
    settings: S3Settings,
    connectionId: string,
    target: PartitionTarget,
  ) {
    this.store = store;
    this.mark = ownerMark(connectionId, target);
    this.control = controlPrefix(settings, connectionId, target);
    this.folder = rebuildsFolder(settings, target);
  }

  set(number: number): FileSet {
    const prefix = number === 0 ? this.control : `${this.control}rebuild-${offsetText(number)}/`;
    return { number, mark: fileMark(this.mark, number), prefix };
  }

  /** The one begun last, shown or not. */
  async newest(): Promise<Rebuild | null> {
    let newest: string | null = null;
    for await (const key of this.store.list(`${this.control}rebuilds/`)) newest = key;
    return newest === null ? null : this.read(newest);
  }

  /** Whether an order was ever begun: a forgotten instance that knows of no newer one must not begin
   * it again. */
  async hasBegun(replay: string): Promise<boolean> {
    for await (const key of this.store.list(`${this.control}rebuilds/`)) {
      if ((await this.read(key))?.replay === replay) return true;
    }
    return false;
  }

  private async read(key: string): Promise<Rebuild | null> {
    const text = await this.store.get(key);
    return text === null ? null : (JSON.parse(text) as Rebuild);
  }

  /** False when another instance has begun the one of this number. */
  begin(rebuild: Rebuild): Promise<boolean> {
    return this.put(`${this.control}rebuilds/${offsetText(rebuild.number)}.json`, rebuild);
  }

  /** Number of the files that readers take. */
  async shown(): Promise<number> {
    const newest = await this.shownKey();
    return newest === null ? 0 : Number(/-(\d{20})\.json$/.exec(newest)?.[1] ?? 0);
  }

  /** What readers take; null for the files that were delivered first. */
  async shownRebuild(): Promise<ShownRebuild | null> {
    const newest = await this.shownKey();
    const text = newest === null ? null : await this.store.get(newest);
    return text === null ? null : (JSON.parse(text) as ShownRebuild);
  }

  private async shownKey(): Promise<string | null> {
    let newest: string | null = null;
    for await (const key of this.store.list(`${this.folder}${this.mark}-`)) newest = key;
    return newest;
  }

  /** Switches readers; false when there is another one of this number. */
  show(shown: ShownRebuild): Promise<boolean> {
    return this.put(`${this.folder}${this.mark}-${offsetText(shown.number)}.json`, shown);
  }

  private async put(key: string, made: Rebuild): Promise<boolean> {
    if (await this.store.putIfAbsent(key, JSON.stringify(made, null, 1))) return true;
    const winner = await this.store.get(key);
    return winner !== null && (JSON.parse(winner) as Rebuild).id === made.id;
  }
}
