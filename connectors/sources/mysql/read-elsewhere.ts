import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { GtidMark } from './binlog-events.ts';
import { GtidSet, gtidText } from './gtid-set.ts';
import { placeOfText, placeText, type Anchor } from './position.ts';

/** Stored while a new server's log may still hold transactions that another server's log gave us. */
export interface ElsewhereMark {
  readonly gtids: string;
  /** All of them lie before this place, where the new server's log ended when it was first asked. */
  readonly before: string;
  /** The last one of them, with the time of its commit. */
  readonly last: Anchor | null;
}

/**
 * After a failover: the transactions of the new server's log that were read from the old one. Its
 * places say nothing about them, and where replication has several threads or domains they may lie
 * between new ones; so each is told by its id (invariant 6).
 */
export class ReadElsewhere {
  private readonly mariadb: boolean;
  private readonly gtids: GtidSet;
  private readonly before: bigint;
  private readonly last: Anchor | null;
  private done = false;

  constructor(mariadb: boolean, mark: ElsewhereMark) {
    this.mariadb = mariadb;
    this.gtids = new GtidSet(mariadb, mark.gtids);
    this.before = placeOfText(mark.before);
    this.last = mark.last;
  }

  /** Whether the transaction that begins here was read from another server. Throws
   * SRC_IDENTITY_CHANGED when the log holds another history under the same ids. */
  passesOver(place: bigint, gtid: GtidMark): boolean {
    if (this.done) return false;
    if (place >= this.before) {
      if (this.mariadb && !this.gtids.empty) throw otherHistory(this.gtids.toString());
      this.done = true;
      return false;
    }
    const last = this.last?.gtid === gtidText(gtid, this.mariadb) ? this.last : null;
    if (last !== null && last.commitUs !== gtid.commitUs) throw otherHistory(last.gtid);
    return this.mariadb ? this.passesDomain(gtid) : this.gtids.has(gtid);
  }

  /** MariaDB's numbers rise within a domain, but only with the server's id do they name one
   * transaction: a replica that missed our last ones has used their numbers for others. */
  private passesDomain(gtid: GtidMark): boolean {
    const newest = this.gtids.newestOf(gtid.source);
    if (newest === undefined) return false;
    if (gtid.number < newest.seq) return true;
    if (gtid.number > newest.seq || gtid.server !== newest.server) {
      throw otherHistory(`${gtid.source}-${newest.server}-${newest.seq}`);
    }
    this.gtids.dropDomain(gtid.source);
    return true;
  }

  /** Null when nothing of it can come any more. */
  get mark(): ElsewhereMark | null {
    if (this.done || this.gtids.empty) return null;
    return { gtids: this.gtids.toString(), before: placeText(this.before), last: this.last };
  }
}

function otherHistory(gtids: string): PipelineError {
  return new PipelineError(
    'SRC_IDENTITY_CHANGED',
    `the server's log does not have ${gtids} as it was read from the server before: their histories differ`,
  );
}
