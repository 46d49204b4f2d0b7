import { offsetText } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';

/**
 * What is to be joined in a partition, one after the other: `join-<number>.json`, made with
 * If-None-Match, so that instances that know nothing of each other never join files in two ways that
 * overlap. A claim is carried out, by whoever finds it, before there is another one.
 */
export interface JoinClaim {
  readonly version: 1;
  readonly id: string;
  readonly number: number;
  /** Key of the joined file. */
  readonly key: string;
  readonly inputs: readonly string[];
  /** ISO 8601, UTC. */
  readonly createdAt: string;
}

export class JoinClaims {
  private readonly store: ObjectStore;
  private readonly prefix: string;
  private last: string | undefined;

  /** `prefix`: the partition's control folder, with a slash behind. */
  constructor(store: ObjectStore, prefix: string) {
    this.store = store;
    this.prefix = `${prefix}join-`;
  }

  /** None is ever removed: an instance that slept could then make it a second time. */
  async newest(): Promise<JoinClaim | null> {
    for await (const key of this.store.list(this.prefix, this.last)) this.last = key;
    const text = this.last === undefined ? null : await this.store.get(this.last);
    return text === null ? null : (JSON.parse(text) as JoinClaim);
  }

  /** False when another instance has made the claim of this number. */
  async make(claim: JoinClaim): Promise<boolean> {
    const key = `${this.prefix}${offsetText(claim.number)}.json`;
    if (await this.store.putIfAbsent(key, JSON.stringify(claim))) return true;
    const winner = await this.store.get(key);
    return winner !== null && (JSON.parse(winner) as JoinClaim).id === claim.id;
  }
}
