import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';

export type Logger = PinoLogger;

/** Field names whose values are secret wherever they turn up, four levels deep (invariant 8). */
const SECRET_FIELDS = [
  'password',
  'token',
  'authorization',
  'secret',
  'secret_access_key',
  'client_key',
  'client_key_password',
  'apiToken',
  'secretKey',
  'kafkaSaslPassword',
  'config',
  'connectionConfiguration',
];

export interface LoggerOptions {
  readonly level: string;
  /** Names the role in every line: `source`, `sink`, `api`. */
  readonly service: string;
  /** Where lines go; standard output when absent. */
  readonly destination?: DestinationStream;
}

/** JSON lines with `level` as a word, `time` in ISO 8601 and `service`. Errors are logged as
 * `{ err }` and come out with code, message and details, never with their cause's raw fields. */
export function createLogger(options: LoggerOptions): Logger {
  const configured = {
    level: options.level,
    base: { service: options.service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
    redact: { paths: redactedPaths(), censor: '**********' },
  };
  return options.destination === undefined
    ? pino(configured)
    : pino(configured, options.destination);
}

function redactedPaths(): string[] {
  return SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`, `*.*.*.${field}`]);
}

/** A driver's error may carry the statement or a row's values in fields of its own (`detail`,
 * `where`); only what is listed here is written. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code, details } = error as { code?: unknown; details?: unknown };
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(details === undefined ? {} : { details }),
    ...(error.cause instanceof Error ? { cause: error.cause.message } : {}),
    stack: error.stack,
  };
}
