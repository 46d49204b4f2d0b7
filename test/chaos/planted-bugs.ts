import type { Fault } from './fault-schedule.ts';
import type { TortureResult } from './torture-run.ts';

/** One line of the program made wrong: `wrong` takes the place of `right`, which is there once. */
export interface Edit {
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
}

/** A mistake that pipelines have made before, and the faults under which it must show. */
export interface PlantedBug {
  readonly name: string;
  readonly edits: readonly Edit[];
  readonly faults: readonly Omit<Fault, 'atMs'>[];
  /** Makes a process die or stop at the instant that matters; `N` is drawn from the seed. */
  readonly failpoint?: string;
  /** Run once in the middle against the target's database `postgres`. */
  readonly sql?: string;
  /** What of a result shows it; being stuck does not, for a busy machine is slow too. */
  readonly shows: readonly (keyof TortureResult & string)[];
}

const kill = (component: Fault['component'], downMs = 500): Omit<Fault, 'atMs'> => ({
  kind: 'kill',
  component,
  instance: 'active',
  downMs,
});

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'acknowledges what it has received',
    edits: [
      {
        file: 'connectors/sources/postgres/capture.ts',
        right: 'acknowledged: () => (wal.replay.verified ? this.acked : 0n),',
        wrong: 'acknowledged: () => wal.through,',
      },
    ],
    faults: [],
    shows: ['acknowledgedTooEarly'],
  },
  {
    name: 'acknowledges the position of a keepalive',
    edits: [
      {
        file: 'connectors/sources/postgres/capture.ts',
        right: '        wal.heard(end);',
        wrong: '        wal.heard(end); this.acknowledge(end);',
      },
    ],
    faults: [],
    shows: ['acknowledgedTooEarly'],
  },
  {
    name: 'stores the offset before it writes',
    edits: [
      {
        file: 'connectors/destinations/postgres/batch-transaction.ts',
        right: "  await failpoint('destination.postgres.before_apply');\n",
        wrong: `  await exchange(client, [storeOffsets(work.home, work.connectionId,
            work.steps.map(({ state, next }) => ({ ...keyOf(state), next }))), COMMIT]);
          await failpoint('destination.postgres.before_apply');
          await exchange(client, begin(limits));\n`,
      },
    ],
    faults: [],
    failpoint: 'destination.postgres.before_apply=N*kill',
    shows: ['lost', 'unequal'],
  },
  {
    name: 'stores the offset outside of the transaction',
    edits: [
      {
        file: 'connectors/destinations/postgres/batch-transaction.ts',
        right: '    await sent(apply(client, work, [store, COMMIT]));\n',
        wrong: `    await sent(apply(client, work, [COMMIT]));
          await failpoint('destination.postgres.rows_applied');
          await exchange(client, [store]);\n`,
      },
      // The failpoint's own way through would be right.
      {
        file: 'connectors/destinations/postgres/batch-transaction.ts',
        right: "mayMiss(work) || isArmed('destination.postgres.rows_applied')",
        wrong: 'mayMiss(work)',
      },
    ],
    faults: [],
    failpoint: 'destination.postgres.rows_applied=N*kill',
    shows: ['duplicated'],
  },
  {
    name: 'does not fence',
    edits: [
      {
        file: 'topics/naming.ts',
        right: 'return `${prefix}.source.${sourceId}`;',
        wrong: 'return `${prefix}.source.${sourceId}.${process.pid}`;',
      },
    ],
    faults: [],
    failpoint: 'source.before_produce=N*stop',
    shows: ['duplicated', 'reordered'],
  },
  {
    name: 'passes over a batch that failed',
    edits: [
      {
        file: 'connectors/destinations/postgres/writer.ts',
        right: 'this.sessions.use((client) => applyBatch(client, work, this.limits)),',
        wrong: `this.sessions.use((client) => applyBatch(client, work, this.limits)).catch((error) => {
            work.tables.length = 0;
            throw error;
          }),`,
      },
    ],
    // A batch rests inside its transaction for a moment, and is ended there.
    faults: [],
    failpoint: 'destination.postgres.before_apply=delay(100)',
    // Ends the first one that is seen inside a transaction.
    sql: `do $$ begin
      for i in 1..4000 loop
        perform pg_stat_clear_snapshot();
        perform pg_terminate_backend(pid) from pg_stat_activity
          where datname = 'postgres' and state = 'idle in transaction' and pid <> pg_backend_pid();
        exit when found;
        perform pg_sleep(0.001);
      end loop; end $$`,
    shows: ['lost', 'unequal'],
  },
  {
    name: 'names a file by its first offset, without an exclusive claim',
    edits: [
      {
        file: 'connectors/destinations/s3/object-key.ts',
        right: '`${mark}-${offsetText(range.first)}-${offsetText(range.end)}`',
        wrong: '`${mark}-${offsetText(range.first)}`',
      },
      {
        file: 'connectors/destinations/s3/claim-chain.ts',
        right: 'if (await this.store.putIfAbsent(key, JSON.stringify(claim))) return true;',
        wrong: 'await this.store.put(key, JSON.stringify(claim)); return true;',
      },
    ],
    faults: [],
    failpoint: 's3.before_claim=N*stop',
    shows: ['lost', 'duplicated'],
  },
  {
    name: 'replaces a row by an older event',
    edits: [
      {
        file: 'connectors/destinations/postgres/table-statements.ts',
        right: "    `WHERE ${position('excluded')} > ${position('t')}`\n",
        wrong: '    `WHERE true`\n',
      },
      // All old events in one batch are merged before they are written: the row would never go back.
      {
        file: 'topics/consume/topic-reader.ts',
        right: 'options.partitionMaxBytes ?? 1024 * 1024',
        wrong: 'options.partitionMaxBytes ?? 4096',
      },
      {
        file: 'services/sink/lane.ts',
        right: 'const JOINED_BYTES = 256 * 1024;',
        wrong: 'const JOINED_BYTES = 4096;',
      },
    ],
    faults: [],
    sql: `update mirror._headrace_offsets set next_offset = 0 where topic like '%.counter'`,
    shows: ['reordered'],
  },
  {
    name: 'reads what is not committed',
    edits: [
      {
        file: 'topics/consume/fetch-request.ts',
        right: 'const READ_COMMITTED = 1;',
        wrong: 'const READ_COMMITTED = 0;',
      },
    ],
    faults: [],
    failpoint: 'kafka.position_produced=N*kill',
    shows: ['lost', 'duplicated', 'wrong'],
  },
  {
    name: 'resumes by the place of an event, not of a transaction',
    edits: [
      {
        file: 'connectors/sources/postgres/wal-stream.ts',
        right: '    this.through = options.position;\n',
        wrong: '    this.through = options.position; this.resumedAt = options.position;\n',
      },
      {
        file: 'connectors/sources/postgres/wal-stream.ts',
        right: '    if (this.delivered) return true;\n    const oid',
        wrong: `    if (this.delivered || bytes.readBigUInt64BE(start - 24) < this.resumedAt) return true;
    const oid`,
      },
    ],
    faults: [kill('source'), kill('source'), kill('source')],
    shows: ['lost', 'unequal'],
  },
];
