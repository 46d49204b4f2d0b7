import type { ErrorCode } from '../../../core/errors/codes.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';

/** What the server's SQLSTATE, or the network's errno, means for us. Messages are the server's own,
 * which name objects and never our values; statements and their parameters are not repeated. */
const CODE_BY_SQLSTATE: Readonly<Record<string, ErrorCode>> = {
  '28000': 'SRC_AUTH_FAILED',
  '28P01': 'SRC_AUTH_FAILED',
  '3D000': 'SRC_DATABASE_MISSING',
  '42501': 'SRC_PRIVILEGE',
  '42P01': 'SRC_STREAM_GONE',
  '3F000': 'SRC_STREAM_GONE',
  '55006': 'SRC_SLOT_BUSY',
  '53300': 'SRC_UNREACHABLE',
  '53400': 'SRC_SERVER_SETTING',
  '57P01': 'SRC_CONNECTION_LOST',
  '57P02': 'SRC_CONNECTION_LOST',
  '57P03': 'SRC_UNREACHABLE',
  '08006': 'SRC_CONNECTION_LOST',
  '08003': 'SRC_CONNECTION_LOST',
  '08P01': 'SRC_PROTOCOL',
};

const CODE_BY_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ECONNREFUSED: 'SRC_UNREACHABLE',
  ENOTFOUND: 'SRC_UNREACHABLE',
  EAI_AGAIN: 'SRC_UNREACHABLE',
  ETIMEDOUT: 'SRC_UNREACHABLE',
  EHOSTUNREACH: 'SRC_UNREACHABLE',
  ENETUNREACH: 'SRC_UNREACHABLE',
  ECONNRESET: 'SRC_CONNECTION_LOST',
  EPIPE: 'SRC_CONNECTION_LOST',
};

export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** `replication slot "x" does not exist` and `publication "x" does not exist` share a SQLSTATE; the
 * quoted kind is not translated apart from the sentence, so the caller says which one it asked for. */
export function classify(error: unknown, doing: string): PipelineError {
  if (error instanceof PipelineError) return error;
  const state = sqlStateOf(error);
  const text = error instanceof Error ? error.message : String(error);
  const code =
    (state === undefined ? undefined : (CODE_BY_SQLSTATE[state] ?? CODE_BY_ERRNO[state])) ??
    codeWithoutState(error, state);
  return new PipelineError(code, `${doing}: ${text}`, {
    cause: error,
    details: { sqlState: state ?? null },
  });
}

const TLS_ERRNO = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/;

/** pg reports a lost or refused connection by a plain Error without any code. */
function codeWithoutState(error: unknown, state: string | undefined): ErrorCode {
  if (state !== undefined && TLS_ERRNO.test(state)) return 'SRC_TLS_FAILED';
  if (state !== undefined && /^[0-9A-Z]{5}$/.test(state)) return 'SRC_QUERY_FAILED';
  const text = error instanceof Error ? error.message : '';
  if (text === 'The server does not support SSL connections') return 'SRC_TLS_FAILED';
  if (text.startsWith('SASL:') || text.includes('password must be a string')) {
    return 'SRC_AUTH_FAILED';
  }
  if (text.startsWith('timeout expired')) return 'SRC_UNREACHABLE';
  if (/connection|socket/i.test(text)) return 'SRC_CONNECTION_LOST';
  return 'SRC_QUERY_FAILED';
}
