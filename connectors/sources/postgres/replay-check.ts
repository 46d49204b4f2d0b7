import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { lsnOfText, lsnText, type Anchor } from './position.ts';

/**
 * Proves after a restart that the server still has the history we read. The stream is asked for from
 * the last transaction below our position where the slot still can send it; it must come with the
 * transaction id and commit time it had, and none may lie between it and the position. A server
 * restored from an older copy fails this even when its log has meanwhile passed our position: it
 * would otherwise skip, without a word, what it committed below it.
 */
export class ReplayCheck {
  /** Nothing may be acknowledged before: it would move the slot over what was not compared. */
  verified: boolean;
  private readonly anchor: Anchor;
  private readonly anchorLsn: bigint;
  private readonly position: bigint;
  /** The anchor lies where the server starts to send, so it must appear. */
  private expected: boolean;

  constructor(anchor: Anchor, position: bigint, requestedStart: bigint) {
    this.anchor = anchor;
    this.anchorLsn = lsnOfText(anchor.lsn);
    this.position = position;
    this.expected = anchor.xid !== 0 && this.anchorLsn >= requestedStart;
    this.verified = false;
  }

  /** True for a transaction that was delivered before the restart. */
  begins(lsn: bigint, xid: number, tsUs: number): boolean {
    if (lsn >= this.position) {
      this.finish();
      return false;
    }
    if (lsn < this.anchorLsn) return true;
    const same = lsn === this.anchorLsn && xid === this.anchor.xid && tsUs === this.anchor.tsUs;
    if (!same) throw this.otherHistory();
    this.expected = false;
    return true;
  }

  /** The server has sent everything up to here. */
  reached(end: bigint): void {
    if (!this.verified && end >= this.position) this.finish();
  }

  private finish(): void {
    if (this.expected) throw this.otherHistory();
    this.verified = true;
  }

  private otherHistory(): PipelineError {
    return new PipelineError(
      'SRC_IDENTITY_CHANGED',
      `the server's log up to ${lsnText(this.position)} is not the one that was read: it was restored from an older copy`,
      { details: { position: lsnText(this.position) } },
    );
  }
}
