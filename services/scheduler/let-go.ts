import type { Connectors } from '../../connectors/registry.ts';
import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { Clock } from '../../core/run/clock.ts';
import type { Cleanup } from '../../core/store/cleanups.ts';
import type { Store } from '../../core/store/store.ts';
import { CLEANUP_PATIENCE } from '../../core/store/wanted-work.ts';
import type { Source } from '../../connectors/spi/source.ts';

export interface LetGoOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** Longer than a connector takes to give up. */
const CLAIM_MS = 180_000;
/** Workers look for work more often than this. */
const UNTIL_SEEN_MS = 5_000;

/**
 * Drops what a deleted source holds on its server, retried until that server has done it: its slot
 * may be in use for a while yet. A source that was given the same slot meanwhile, because this took
 * too long, keeps it: dropping it late would tear a hole into that source's log.
 */
export async function letGo(options: LetGoOptions, cleanup: Cleanup): Promise<void> {
  const { store, connectors, clock, logger } = options;
  const { id, captureId, connector, configuration, failedAttempts } = cleanup;
  try {
    const source = await connectors.sources.load(connector);
    await store.cleanups.claim(id, CLAIM_MS);
    // New sources were not held back so far: one that began just now must have been seen to.
    if (failedAttempts >= CLEANUP_PATIENCE) {
      await clock.wait(UNTIL_SEEN_MS, new AbortController().signal);
    }
    const owner = await newOwner(options, cleanup, source);
    if (owner === null) await source.release({ sourceId: captureId, config: configuration });
    await store.cleanups.done(id);
    logger.info({ source: captureId, ...(owner && { keptFor: owner }) }, 'source let go');
  } catch (thrown) {
    const error = toPipelineError(thrown);
    const wait = Math.min(RETRY_MS * 2 ** Math.min(failedAttempts, 10), LONGEST_RETRY_MS);
    logger.warn({ err: error, source: captureId, failedAttempts }, 'source not let go yet');
    await store.cleanups.failed(id, wait, `${error.code}: ${error.message}`);
  }
}

/** Another source that runs on what is to be dropped; its capture id, or null. */
async function newOwner(
  { store }: LetGoOptions,
  { captureId, connector, configuration }: Cleanup,
  source: Source,
): Promise<string | null> {
  const held = source.heldOnServer?.(configuration) ?? null;
  if (held === null) return null;
  const others = await store.monitoring.sources();
  const owner = others.find(
    (each) =>
      each.hasRun &&
      each.connector === connector &&
      !captureId.startsWith(each.subjects[0]?.source.id ?? captureId) &&
      source.heldOnServer?.(each.configuration) === held,
  );
  return owner?.captureId ?? null;
}
