import { PipelineError, toPipelineError } from '../errors/pipeline-error.ts';

/** SQLSTATE classes and codes after which the same call may work later. */
const PASSING_CLASSES = ['08', '53', '57', '58'];
const PASSING_STATES = ['40001', '40P01', '55P03'];
const PASSING_ERRNOS = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
];
const REFUSED_CLASSES = ['28', '3D', '42'];

/** What the drivers throw, by SQLSTATE or errno. A unique violation is left for the caller to name. */
export function storeError(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code === null) return connectionLost(error, message);
  const family = code.slice(0, 2);
  if (
    PASSING_CLASSES.includes(family) ||
    PASSING_STATES.includes(code) ||
    PASSING_ERRNOS.includes(code)
  ) {
    return new PipelineError('CFG_STORE_UNAVAILABLE', `the store does not answer: ${message}`, {
      details: { state: code },
      cause: error,
    });
  }
  if (REFUSED_CLASSES.includes(family)) {
    return new PipelineError('CFG_STORE_REFUSED', `the store refused: ${message}`, {
      details: { state: code },
      cause: error,
    });
  }
  return toPipelineError(error);
}

/** True for a violated unique index of this name. */
export function violates(error: unknown, index: string): boolean {
  const cause = error instanceof PipelineError ? error.cause : error;
  return (
    codeOf(cause) === '23505' &&
    (cause as { constraint?: unknown } | undefined)?.constraint === index
  );
}

/** The driver gives these no code (pg 8.23: client and pool when a socket ends under them). */
function connectionLost(error: unknown, message: string): PipelineError {
  const lost =
    /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered)/;
  if (!lost.test(message)) return toPipelineError(error);
  return new PipelineError('CFG_STORE_UNAVAILABLE', `the store does not answer: ${message}`, {
    cause: error,
  });
}

function codeOf(error: unknown): string | null {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : null;
}
