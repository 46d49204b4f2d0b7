import type { SettingSpec } from './setting-table.ts';

/** When an attempt gives up, a job fails and a connection is switched off; docs/jobs.md explains it. */
export const JOB_SETTINGS = {
  HEADRACE_JOB_MAX_ATTEMPTS: {
    type: 'integer',
    default: 3,
    min: 1,
    max: 100,
    secret: false,
    alias: 'SYNC_JOB_MAX_ATTEMPTS',
    description: 'Attempts of a sync before its job fails; only what may pass is tried again.',
  },
  HEADRACE_JOB_MAX_DAYS: {
    type: 'integer',
    default: 3,
    min: 1,
    max: 365,
    secret: false,
    alias: 'SYNC_JOB_MAX_TIMEOUT_DAYS',
    description: 'Days after which a sync that has not ended fails.',
  },
  HEADRACE_JOB_PATIENCE_SECONDS: {
    type: 'integer',
    default: 600,
    min: 1,
    max: 604_800,
    secret: false,
    description: 'How long an attempt waits for a server that does not answer before it fails.',
  },
  HEADRACE_JOB_HISTORY_DAYS: {
    type: 'integer',
    default: 30,
    min: 0,
    max: 36_500,
    secret: false,
    description: 'Days that ended jobs and their logs are kept; 0 keeps them for ever.',
  },
  HEADRACE_SCHEMA_LOOK_SECONDS: {
    type: 'integer',
    default: 60,
    min: 1,
    max: 86_400,
    secret: false,
    description:
      'How often a source is asked for new tables, for connections that propagate fully.',
  },
  HEADRACE_DISABLE_AFTER_FAILED_JOBS: {
    type: 'integer',
    default: 100,
    min: 0,
    max: 1_000_000,
    secret: false,
    alias: 'MAX_FAILED_JOBS_IN_A_ROW_BEFORE_CONNECTION_DISABLE',
    description: 'Failed jobs in a row after which a connection is made inactive; 0 for never.',
  },
  HEADRACE_DISABLE_AFTER_FAILED_DAYS: {
    type: 'integer',
    default: 14,
    min: 0,
    max: 36_500,
    secret: false,
    alias: 'MAX_DAYS_OF_ONLY_FAILED_JOBS_BEFORE_CONNECTION_DISABLE',
    description: 'Days of failed jobs only after which a connection is made inactive; 0 for never.',
  },
} as const satisfies Record<`HEADRACE_${string}`, SettingSpec>;
