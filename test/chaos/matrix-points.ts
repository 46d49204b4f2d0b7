/**
 * Every place at which the program can be made to die, stop, fail or wait (core/run/failpoints.ts):
 * the nine steps of a captured transaction (SP-01), the twelve of a delivered batch (SI-01), and the
 * two of a first copy (PG-21). A house test compares this list with the places in the code.
 */
export interface Point {
  readonly row: 'SP-01' | 'SI-01' | 'PG-21';
  readonly step: string;
  readonly name: string;
  readonly needs: Need;
  /** The pass at which it acts. */
  readonly pass: number;
}

/** What has to be written for the place to be reached: any change; a transaction of several record
 * batches; a file of several parts; a first copy. */
export type Need = 'changes' | 'batches' | 'parts' | 'copy';

export const ACTIONS = ['kill', 'stop', 'error', 'delay'] as const;
export type Action = (typeof ACTIONS)[number];

function steps(
  row: Point['row'],
  places: readonly (readonly [step: string, name: string, needs?: Need, pass?: number])[],
): Point[] {
  return places.map(([step, name, needs = 'changes', pass = 1]) => ({
    row,
    step,
    name,
    needs,
    pass,
  }));
}

export const POINTS: readonly Point[] = [
  ...steps('SP-01', [
    ['received', 'source.received'],
    ['encoded', 'source.before_produce'],
    ['transaction begun', 'kafka.begun'],
    ['produced partly', 'kafka.produced_partly', 'batches'],
    ['produced all', 'source.produced'],
    ['position produced', 'kafka.position_produced'],
    ['commit sent', 'kafka.commit_sent'],
    ['commit answered', 'source.after_commit'],
    // Once a second, whether or not there is news: by the fifth something was written.
    ['acknowledgement sent', 'source.acknowledged', 'changes', 5],
  ]),
  ...steps('SI-01', [
    ['fetched', 'sink.fetched'],
    ['Postgres: transaction begun', 'destination.postgres.before_apply'],
    ['Postgres: rows applied', 'destination.postgres.rows_applied'],
    ['Postgres: offset stored', 'destination.postgres.offset_stored'],
    ['Postgres: commit sent', 'destination.postgres.commit_sent'],
    ['Postgres: commit answered', 'destination.postgres.after_commit'],
    ['S3: file built', 's3.before_claim'],
    ['S3: claim written', 's3.after_claim'],
    ['S3: part sent', 's3.part_sent', 'parts'],
    ['S3: completion sent', 's3.complete_sent', 'parts'],
    ['S3: files answered', 's3.after_upload'],
    ['S3: claim closed', 's3.claim_closed'],
  ]),
  ...steps('PG-21', [
    ['a piece copied', 'source.snapshot_chunk', 'copy'],
    ['between copy and log', 'source.snapshot_handover', 'copy'],
  ]),
];
