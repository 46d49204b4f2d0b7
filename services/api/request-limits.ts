import { PipelineError } from '../../core/errors/pipeline-error.ts';

/** Buckets of callers that are at rest are forgotten when there are more than this. */
const MAX_BUCKETS = 10_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** So many a second for each caller, and `burst` at once. Throws API_TOO_MANY_REQUESTS. */
export class RateLimit {
  private readonly perSecond: number;
  private readonly burst: number;
  private readonly clock: () => number;
  private readonly buckets = new Map<string, Bucket>();

  constructor(perSecond: number, burst: number, clock: () => number = Date.now) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.clock = clock;
  }

  /** Takes one. */
  take(caller: string): void {
    this.check(caller);
    (this.buckets.get(caller) as Bucket).tokens -= 1;
  }

  /** Throws when nothing is left, and takes nothing. */
  check(caller: string): void {
    const bucket = this.filled(caller);
    if (bucket.tokens >= 1) return;
    const retryAfter = Math.max(1, Math.ceil((1 - bucket.tokens) / this.perSecond));
    throw new PipelineError('API_TOO_MANY_REQUESTS', 'Too many requests of this kind', {
      details: { retryAfter },
    });
  }

  private filled(caller: string): Bucket {
    const now = this.clock();
    const old = this.buckets.get(caller);
    if (old === undefined && this.buckets.size >= MAX_BUCKETS) this.forgetFull(now);
    const bucket = old ?? { tokens: this.burst, at: now };
    const grown = (Math.max(0, now - bucket.at) / 1000) * this.perSecond;
    bucket.tokens = Math.min(this.burst, bucket.tokens + grown);
    bucket.at = now;
    this.buckets.set(caller, bucket);
    return bucket;
  }

  private forgetFull(now: number): void {
    for (const [caller, { tokens, at }] of this.buckets) {
      if (tokens + ((now - at) / 1000) * this.perSecond >= this.burst) this.buckets.delete(caller);
    }
    if (this.buckets.size >= MAX_BUCKETS) this.buckets.clear();
  }
}

/** Calls that make this program log in to other servers. */
const REACHES_OUT = /check_connection|discover_schema|connections\/(create|update)$|\/streams$/;

/** What one caller may ask of the API, and what an address may guess. */
export class RequestLimits {
  private readonly all: RateLimit;
  private readonly reachingOut: RateLimit;
  private readonly wrongTokens = new RateLimit(1, 30);

  constructor(perSecond: number) {
    this.all = new RateLimit(perSecond, perSecond * 2);
    this.reachingOut = new RateLimit(perSecond / 50, perSecond / 5);
  }

  request(caller: string, pattern: string): void {
    this.all.take(caller);
    if (REACHES_OUT.test(pattern)) this.reachingOut.take(caller);
  }

  mayGuess(address: string): void {
    this.wrongTokens.check(address);
  }

  guessedWrong(address: string): void {
    this.wrongTokens.take(address);
  }
}
