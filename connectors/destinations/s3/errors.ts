import type { ErrorCode } from '../../../core/errors/codes.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget } from '../../spi/destination.ts';

/** The store's own names of what went wrong; the status decides where no name is known. */
const CODE_BY_NAME: Record<string, ErrorCode> = {
  NoSuchBucket: 'DST_BUCKET_MISSING',
  InvalidBucketName: 'DST_BUCKET_MISSING',
  AccessDenied: 'DST_PRIVILEGE',
  AllAccessDisabled: 'DST_PRIVILEGE',
  InvalidAccessKeyId: 'DST_AUTH',
  SignatureDoesNotMatch: 'DST_AUTH',
  AuthorizationHeaderMalformed: 'DST_AUTH',
  ExpiredToken: 'DST_AUTH',
  InvalidToken: 'DST_AUTH',
  RequestTimeTooSkewed: 'DST_CLOCK_SKEW',
  XMinioStorageFull: 'DST_DISK_FULL',
  InsufficientStorage: 'DST_DISK_FULL',
  QuotaExceeded: 'DST_DISK_FULL',
  OperationAborted: 'DST_UNAVAILABLE',
  ConditionalRequestConflict: 'DST_UNAVAILABLE',
  RequestTimeout: 'DST_UNAVAILABLE',
  NoSuchUpload: 'DST_UNAVAILABLE',
  XMinioAdminBucketQuotaExceeded: 'DST_DISK_FULL',
};

const CODE_BY_STATUS: Record<number, ErrorCode> = {
  401: 'DST_AUTH',
  403: 'DST_PRIVILEGE',
};

interface ServiceError extends Error {
  readonly Code?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

export function statusOf(error: unknown): number | undefined {
  return (error as ServiceError).$metadata?.httpStatusCode;
}

export function nameOf(error: unknown): string {
  const { Code, name, code } = error as ServiceError;
  return Code ?? (name !== undefined && name !== 'Error' ? name : (code ?? 'unknown'));
}

/** Without a status there was no answer. A refusal that nobody has met yet is a defect of ours. */
function codeOfStatus(status: number | undefined): ErrorCode {
  if (status === undefined || status >= 500 || status === 408 || status === 429) {
    return status === 507 ? 'DST_DISK_FULL' : 'DST_UNAVAILABLE';
  }
  return CODE_BY_STATUS[status] ?? 'BUG_UNEXPECTED';
}

/** Classifies what the SDK threw while `action` was being done; a PipelineError passes through. The
 * store's text is left out, for it may repeat keys of the request (invariant 8). */
export function storeError(error: unknown, action: string): PipelineError {
  if (error instanceof PipelineError) return error;
  const name = nameOf(error);
  const status = statusOf(error);
  const code = CODE_BY_NAME[name] ?? codeOfStatus(status);
  return new PipelineError(code, `${action} failed: ${name}`, {
    details: { action, reason: name, status: status ?? null },
    cause: error,
  });
}

const CODE_BY_ERRNO: Record<string, ErrorCode> = {
  ENOENT: 'DST_BUCKET_MISSING',
  ENOTDIR: 'DST_BUCKET_MISSING',
  EACCES: 'DST_PRIVILEGE',
  EPERM: 'DST_PRIVILEGE',
  EROFS: 'DST_PRIVILEGE',
  ENOSPC: 'DST_DISK_FULL',
  EDQUOT: 'DST_DISK_FULL',
  ENAMETOOLONG: 'CFG_INVALID_CONNECTOR',
  EIO: 'DST_UNAVAILABLE',
  ESTALE: 'DST_UNAVAILABLE',
  EMFILE: 'DST_UNAVAILABLE',
};

/** Errors of a local folder that stands for a bucket. */
export function folderError(error: unknown, action: string): PipelineError {
  const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
  return new PipelineError(
    CODE_BY_ERRNO[reason] ?? 'BUG_UNEXPECTED',
    `${action} failed: ${reason}`,
    { details: { action, reason }, cause: error },
  );
}

/** Errors of the local disk that the spool lies on. */
export function spoolError(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PipelineError('SNK_SCRATCH_FULL', 'the disk for unfinished Parquet files is full', {
      cause: error,
    });
  }
  return new PipelineError('SNK_ENCODER_LOST', `a Parquet file could not be built: ${message}`, {
    cause: error,
  });
}

/** `does`: what another instance has done or is doing to the partition, so that this one must give way. */
export function fenced(
  { topic, partition, stream }: PartitionTarget,
  does: string,
  details: Readonly<Record<string, unknown>> = {},
): PipelineError {
  return new PipelineError(
    'SNK_FENCED',
    `another instance ${does} partition ${topic}-${partition}`,
    {
      details: { stream: streamLabel(stream.stream), ...details },
    },
  );
}
