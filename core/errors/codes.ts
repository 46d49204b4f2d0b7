/**
 * Every way Headrace can fail, in one table. A code names what happened; the row says what the
 * runner does, whom the job history blames, which HTTP status the API answers, and one sentence
 * for the person who has to mend it. Codes are never reused with another meaning.
 */

/** retry: back off and go on. resync: the stream needs a new snapshot. hold: wait for a person.
 * stop: a defect of ours or a fence; the process that met it must not go on. */
export type Reaction = 'retry' | 'resync' | 'hold' | 'stop';

export type FailureOrigin = 'source' | 'destination' | 'replication' | 'airbyte_platform';
export type FailureType = 'config_error' | 'system_error' | 'transient_error';

export interface ErrorSpec {
  readonly reaction: Reaction;
  readonly origin: FailureOrigin;
  readonly type: FailureType;
  readonly http: number;
  readonly fix: string;
}

export const ERROR_CODES = {
  CFG_INVALID_SETTING: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Correct or remove the HEADRACE_* setting named in the message and start again.',
  },
  CFG_INVALID_CONNECTOR: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 422,
    fix: 'Correct the field of the connector configuration named in the message.',
  },
  CFG_PORT_IN_USE: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Stop the program that holds the port, or choose another one with the setting named in the message.',
  },
  EVT_UNDECODABLE: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 500,
    fix: 'Find who wrote a foreign record to the topic at the offset named; then re-snapshot the stream or replay past it.',
  },
  STACK_TOOL_MISSING: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Install the tool named in the message, or use a server that runs elsewhere.',
  },
  STACK_FETCH_FAILED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'transient_error',
    http: 500,
    fix: 'Read the output in the message, mend the network or the package registry it names, and start again: finished parts are kept.',
  },
  STACK_SERVER_FAILED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'Read the end of the server log in the message; `headrace stack down` and a new data folder give a fresh start.',
  },
  BUG_UNEXPECTED: {
    reaction: 'retry',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'This is a defect of Headrace: report it with the log line that carries the code.',
  },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERROR_CODES;
