import type { GtidMark } from './binlog-events.ts';

type Interval = [first: bigint, last: bigint];

/**
 * Which transactions were seen. MySQL's text is `uuid[:tag]:1-7:9,...`: intervals by source. MariaDB's
 * is `domain-server-seq,...`: the newest of each domain stands for all before it.
 */
export class GtidSet {
  readonly mariadb: boolean;
  private readonly intervals = new Map<string, Interval[]>();
  private readonly domains = new Map<string, { server: number; seq: bigint }>();

  constructor(mariadb: boolean, text: string) {
    this.mariadb = mariadb;
    for (const part of text.split(',').map((each) => each.trim())) {
      if (part === '') continue;
      if (mariadb) this.addDomain(part);
      else this.addSource(part);
    }
  }

  private addDomain(part: string): void {
    const [domain = '', server, seq = '0'] = part.split('-');
    const known = this.domains.get(domain);
    if (known !== undefined && known.seq >= BigInt(seq)) return;
    this.domains.set(domain, { server: Number(server), seq: BigInt(seq) });
  }

  private addSource(part: string): void {
    const [uuid = '', ...fields] = part.split(':').map((field) => field.trim());
    let source = uuid.toLowerCase();
    for (const field of fields) {
      if (!/^[0-9]/.test(field)) {
        source = `${uuid.toLowerCase()}:${field}`;
        continue;
      }
      const [first = '0', last = first] = field.split('-');
      this.merge(source, BigInt(first), BigInt(last));
    }
  }

  private merge(source: string, first: bigint, last: bigint): void {
    let list = this.intervals.get(source);
    if (list === undefined) this.intervals.set(source, (list = []));
    const tail = list.at(-1);
    if (tail !== undefined && first === tail[1] + 1n) {
      tail[1] = last;
      return;
    }
    list.push([first, last]);
    list.sort((a, b) => (a[0] < b[0] ? -1 : 1));
    const merged: Interval[] = [];
    for (const each of list) {
      const before = merged.at(-1);
      if (before !== undefined && each[0] <= before[1] + 1n) {
        if (each[1] > before[1]) before[1] = each[1];
      } else merged.push([...each]);
    }
    this.intervals.set(source, merged);
  }

  add(gtid: GtidMark): void {
    if (gtid.source === '') return;
    if (this.mariadb) this.domains.set(gtid.source, { server: gtid.server, seq: gtid.number });
    else this.merge(gtid.source, gtid.number, gtid.number);
  }

  get empty(): boolean {
    return this.intervals.size === 0 && this.domains.size === 0;
  }

  /** Takes what `other` has, without what `but` has; MySQL's ids only. */
  addAll(other: GtidSet, but: GtidSet): void {
    for (const [source, list] of other.intervals) {
      for (const [first, last] of list) {
        for (let number = first; number <= last; number++) {
          if (!but.hasNumber(source, number)) this.merge(source, number, number);
        }
      }
    }
  }

  private hasNumber(source: string, number: bigint): boolean {
    const list = this.intervals.get(source) ?? [];
    return list.some(([first, last]) => first <= number && number <= last);
  }

  /** Whether this transaction is in here; on MariaDB, whether it is not newer than its domain's newest. */
  has(gtid: GtidMark): boolean {
    if (this.mariadb) return (this.domains.get(gtid.source)?.seq ?? -1n) >= gtid.number;
    return this.hasNumber(gtid.source, gtid.number);
  }

  /** MariaDB's newest transaction of a domain. */
  newestOf(domain: string): { readonly server: number; readonly seq: bigint } | undefined {
    return this.domains.get(domain);
  }

  /** MariaDB's domains of which `other` has exactly the same newest transaction go out. */
  dropSame(other: GtidSet): void {
    for (const [domain, { server, seq }] of other.domains) {
      const own = this.domains.get(domain);
      if (own?.server === server && own.seq === seq) this.domains.delete(domain);
    }
  }

  dropDomain(domain: string): void {
    this.domains.delete(domain);
  }

  /** Whether every transaction of `other` is in here. */
  contains(other: GtidSet): boolean {
    for (const [domain, { seq }] of other.domains) {
      if ((this.domains.get(domain)?.seq ?? -1n) < seq) return false;
    }
    for (const [source, list] of other.intervals) {
      const own = this.intervals.get(source) ?? [];
      if (!list.every(([a, b]) => own.some(([c, d]) => c <= a && b <= d))) return false;
    }
    return true;
  }

  toString(): string {
    if (this.mariadb) {
      return [...this.domains]
        .map(([domain, { server, seq }]) => `${domain}-${server}-${seq}`)
        .join(',');
    }
    const text = ([first, last]: Interval): string =>
      first === last ? String(first) : `${first}-${last}`;
    return [...this.intervals]
      .map(([source, list]) => `${source}:${list.map(text).join(':')}`)
      .join(',');
  }
}

export function gtidText(gtid: GtidMark, mariadb: boolean): string {
  if (gtid.source === '') return '';
  return mariadb ? `${gtid.source}-${gtid.server}-${gtid.number}` : `${gtid.source}:${gtid.number}`;
}
