import type { ErrorCode } from '../../../core/errors/codes.ts';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';

/** What the server tells about an error besides its text. */
interface ServerError extends Error {
  readonly code?: string;
  readonly severity?: string;
  readonly constraint?: string;
}

const BY_SQLSTATE: Readonly<Record<string, ErrorCode>> = {
  '28000': 'DST_AUTH',
  '28P01': 'DST_AUTH',
  '3D000': 'DST_DATABASE_MISSING',
  '42501': 'DST_PRIVILEGE',
  '53100': 'DST_DISK_FULL',
  '25006': 'DST_READ_ONLY',
  '40P01': 'DST_BLOCKED',
  '40001': 'DST_BLOCKED',
  '55P03': 'DST_BLOCKED',
  '57014': 'DST_BLOCKED',
  '25P02': 'DST_UNAVAILABLE',
  '25P03': 'DST_UNAVAILABLE',
  '3F000': 'DST_TABLE_CHANGED',
  '42P01': 'DST_TABLE_CHANGED',
  '42P10': 'DST_TABLE_CHANGED',
  '42703': 'DST_TABLE_CHANGED',
  '42804': 'DST_TABLE_CHANGED',
  '428C9': 'DST_TABLE_CHANGED',
  '42809': 'DST_TABLE_CHANGED',
  '54011': 'DST_SCHEMA_INCOMPATIBLE',
};

const BY_CLASS: Readonly<Record<string, ErrorCode>> = {
  '08': 'DST_UNAVAILABLE',
  '53': 'DST_UNAVAILABLE',
  '57': 'DST_UNAVAILABLE',
  '58': 'DST_UNAVAILABLE',
  '22': 'DST_VALUE',
  '54': 'DST_VALUE',
  '23': 'DST_CONSTRAINT',
};

/** Classes whose message or detail may show a row's values: those are never passed on. */
const MAY_SHOW_VALUES = /^(21|22|23|54|P0)/;

/**
 * Classifies what `pg` or the socket threw. `what` begins the message: the table or the address.
 * Errors that are neither the server's nor the network's stay defects of ours.
 */
export function classify(error: unknown, what: string, stream?: string): PipelineError {
  if (error instanceof PipelineError) return error;
  if (!(error instanceof Error)) return toPipelineError(error);
  const server = error as ServerError;
  const at = stream === undefined ? {} : { stream };
  const sqlstate = server.severity === undefined ? undefined : server.code;
  if (sqlstate === undefined) {
    const code = networkCode(server);
    return code === null
      ? toPipelineError(error)
      : new PipelineError(code, `${what}: ${error.message}`, { details: at, cause: error });
  }
  const code = BY_SQLSTATE[sqlstate] ?? BY_CLASS[sqlstate.slice(0, 2)] ?? 'DST_REFUSED';
  const constraint = server.constraint;
  const text = MAY_SHOW_VALUES.test(sqlstate)
    ? `the server refused a row${constraint === undefined ? '' : ` by constraint "${constraint}"`}`
    : error.message;
  return new PipelineError(code, `${what}: ${text} (SQLSTATE ${sqlstate})`, {
    details: { ...at, sqlstate, ...(constraint === undefined ? {} : { constraint }) },
  });
}

const NETWORK =
  /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|ERR_STREAM|ERR_SOCKET)/;
const TLS = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/;
const CONNECTION_LOST =
  /^(Connection terminated|Client (has encountered|was closed)|timeout expired|.*timeout)/;

function networkCode(error: ServerError): ErrorCode | null {
  const code = error.code ?? '';
  if (NETWORK.test(code) || CONNECTION_LOST.test(error.message)) return 'DST_UNAVAILABLE';
  if (TLS.test(code) || / SSL /.test(error.message)) return 'DST_TLS';
  return error.message.startsWith('SASL') ? 'DST_AUTH' : null;
}

/** Worth trying again at once, on the same or a new connection. */
export function isTransient(error: PipelineError): boolean {
  return (
    error.code === 'DST_BLOCKED' ||
    error.code === 'DST_UNAVAILABLE' ||
    error.code === 'DST_READ_ONLY'
  );
}
