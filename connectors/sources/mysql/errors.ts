import type { ErrorCode } from '../../../core/errors/codes.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';

/** What the server's error number means for us. Its messages name objects, never our values. */
const CODE_BY_NUMBER: Readonly<Record<number, ErrorCode>> = {
  1040: 'SRC_UNREACHABLE',
  1044: 'SRC_PRIVILEGE',
  1045: 'SRC_AUTH_FAILED',
  1049: 'SRC_DATABASE_MISSING',
  1053: 'SRC_CONNECTION_LOST',
  1142: 'SRC_PRIVILEGE',
  1146: 'SRC_STREAM_GONE',
  1158: 'SRC_CONNECTION_LOST',
  1159: 'SRC_CONNECTION_LOST',
  1160: 'SRC_CONNECTION_LOST',
  1161: 'SRC_CONNECTION_LOST',
  1205: 'SRC_QUERY_FAILED',
  1227: 'SRC_PRIVILEGE',
  1251: 'SRC_AUTH_FAILED',
  1698: 'SRC_AUTH_FAILED',
  1927: 'SRC_CONNECTION_LOST',
  3118: 'SRC_AUTH_FAILED',
  3159: 'SRC_TLS_FAILED',
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
  PROTOCOL_CONNECTION_LOST: 'SRC_CONNECTION_LOST',
  HANDSHAKE_SSL_ERROR: 'SRC_TLS_FAILED',
  HANDSHAKE_NO_SSL_SUPPORT: 'SRC_TLS_FAILED',
};

const TLS_ERRNO = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/;

export function numberOf(error: unknown): number | undefined {
  const found = (error as { errno?: unknown } | null)?.errno;
  return typeof found === 'number' && found > 0 ? found : undefined;
}

export function classify(error: unknown, doing: string): PipelineError {
  if (error instanceof PipelineError) return error;
  const number = numberOf(error);
  const name = String((error as { code?: unknown } | null)?.code ?? '');
  const text = error instanceof Error ? error.message : String(error);
  const code: ErrorCode =
    (number === undefined ? undefined : CODE_BY_NUMBER[number]) ??
    CODE_BY_ERRNO[name] ??
    (TLS_ERRNO.test(name) ? 'SRC_TLS_FAILED' : undefined) ??
    (/closed state|connection lost|socket/i.test(text)
      ? 'SRC_CONNECTION_LOST'
      : 'SRC_QUERY_FAILED');
  return new PipelineError(code, `${doing}: ${text}`, {
    cause: error,
    details: { errno: number ?? null },
  });
}

/** Error 1236 of the binlog sender says by its text alone what is wrong with the request. */
export function classifyDump(number: number, text: string): PipelineError {
  const purged = /could not find first log|purged|no longer|not found in the binlog/i.test(text);
  const evicted = /same server_?(uuid|id)/i.test(text);
  const code: ErrorCode =
    number !== 1236
      ? (CODE_BY_NUMBER[number] ?? 'SRC_QUERY_FAILED')
      : purged
        ? 'SRC_BINLOG_PURGED'
        : evicted
          ? 'SRC_CONNECTION_LOST'
          : 'SRC_POSITION_AHEAD';
  return new PipelineError(code, `reading the binary log: ${text}`, { details: { errno: number } });
}

export function protocolError(what: string): PipelineError {
  return new PipelineError('SRC_PROTOCOL', `the binary log holds ${what}`);
}

export function logIncomplete(label: string, why: string): PipelineError {
  return new PipelineError('SRC_LOG_INCOMPLETE', `${label}: ${why}`, {
    details: { stream: label },
  });
}

/** A value that we do not understand is never guessed at (invariant 5); it is not repeated here. */
export function badValue(what: string): PipelineError {
  return new PipelineError('SRC_VALUE', `a value is not a ${what} as MySQL stores it`);
}
