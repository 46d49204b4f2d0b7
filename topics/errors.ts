import type { ErrorCode } from '../core/errors/codes.ts';
import { PipelineError, type ErrorDetails } from '../core/errors/pipeline-error.ts';

/**
 * The border where Kafka's error numbers and the client library's errors become ours. Every number
 * is listed with what it means to us; one that is not listed is a defect to be reported, never a
 * guess.
 */

export const NONE = 0;
export const OFFSET_OUT_OF_RANGE = 1;
export const UNKNOWN_TOPIC_OR_PARTITION = 3;
export const CONCURRENT_TRANSACTIONS = 51;
export const UNKNOWN_TOPIC_ID = 100;

interface KafkaCode {
  readonly name: string;
  readonly code: ErrorCode;
}

function named(code: ErrorCode, names: Record<number, string>): [number, KafkaCode][] {
  return Object.entries(names).map(([number, name]) => [Number(number), { name, code }]);
}

const KAFKA_CODES = new Map<number, KafkaCode>([
  ...named('KAFKA_UNAVAILABLE', {
    2: 'CORRUPT_MESSAGE',
    5: 'LEADER_NOT_AVAILABLE',
    6: 'NOT_LEADER_OR_FOLLOWER',
    7: 'REQUEST_TIMED_OUT',
    8: 'BROKER_NOT_AVAILABLE',
    9: 'REPLICA_NOT_AVAILABLE',
    13: 'NETWORK_EXCEPTION',
    14: 'COORDINATOR_LOAD_IN_PROGRESS',
    15: 'COORDINATOR_NOT_AVAILABLE',
    16: 'NOT_COORDINATOR',
    19: 'NOT_ENOUGH_REPLICAS',
    20: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
    41: 'NOT_CONTROLLER',
    51: 'CONCURRENT_TRANSACTIONS',
    56: 'KAFKA_STORAGE_ERROR',
    74: 'FENCED_LEADER_EPOCH',
    75: 'UNKNOWN_LEADER_EPOCH',
    78: 'OFFSET_NOT_AVAILABLE',
    80: 'PREFERRED_LEADER_NOT_AVAILABLE',
    89: 'THROTTLING_QUOTA_EXCEEDED',
    103: 'INCONSISTENT_TOPIC_ID',
  }),
  ...named('KAFKA_AUTH', {
    29: 'TOPIC_AUTHORIZATION_FAILED',
    30: 'GROUP_AUTHORIZATION_FAILED',
    31: 'CLUSTER_AUTHORIZATION_FAILED',
    33: 'UNSUPPORTED_SASL_MECHANISM',
    34: 'ILLEGAL_SASL_STATE',
    53: 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
    58: 'SASL_AUTHENTICATION_FAILED',
  }),
  ...named('KAFKA_FENCED', { 47: 'INVALID_PRODUCER_EPOCH', 90: 'PRODUCER_FENCED' }),
  ...named('KAFKA_REOPEN', {
    45: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
    46: 'DUPLICATE_SEQUENCE_NUMBER',
    48: 'INVALID_TXN_STATE',
    49: 'INVALID_PRODUCER_ID_MAPPING',
    52: 'TRANSACTION_COORDINATOR_FENCED',
    55: 'OPERATION_NOT_ATTEMPTED',
    59: 'UNKNOWN_PRODUCER_ID',
    120: 'TRANSACTION_ABORTABLE',
  }),
  ...named('KAFKA_TOPIC_GONE', { 3: 'UNKNOWN_TOPIC_OR_PARTITION', 100: 'UNKNOWN_TOPIC_ID' }),
  ...named('KAFKA_GAP', { 1: 'OFFSET_OUT_OF_RANGE' }),
  ...named('EVT_TOO_LARGE', { 10: 'MESSAGE_TOO_LARGE', 18: 'RECORD_LIST_TOO_LARGE' }),
  ...named('KAFKA_REFUSED', {
    17: 'INVALID_TOPIC_EXCEPTION',
    21: 'INVALID_REQUIRED_ACKS',
    32: 'INVALID_TIMESTAMP',
    35: 'UNSUPPORTED_VERSION',
    36: 'TOPIC_ALREADY_EXISTS',
    37: 'INVALID_PARTITIONS',
    38: 'INVALID_REPLICATION_FACTOR',
    40: 'INVALID_CONFIG',
    42: 'INVALID_REQUEST',
    44: 'POLICY_VIOLATION',
    50: 'INVALID_TRANSACTION_TIMEOUT',
    54: 'SECURITY_DISABLED',
    76: 'UNSUPPORTED_COMPRESSION_TYPE',
    87: 'INVALID_RECORD',
  }),
]);

export function kafkaCodeName(errorCode: number): string {
  return KAFKA_CODES.get(errorCode)?.name ?? `error ${errorCode}`;
}

/** The PipelineError for an error number in a Kafka answer; `doing` says what was asked of whom. */
export function kafkaError(
  errorCode: number,
  doing: string,
  details: ErrorDetails = {},
): PipelineError {
  const code = KAFKA_CODES.get(errorCode)?.code ?? 'BUG_UNEXPECTED';
  return new PipelineError(code, `${doing}: Kafka answered ${kafkaCodeName(errorCode)}`, {
    details: { ...details, kafkaError: errorCode },
  });
}

/** The same for a partition, from the broker that was asked as its leader. One that does not know the
 * partition may not know it yet: a topic just made, a broker just started. Whether a topic is gone is
 * for the metadata to say, which is asked again after any failure. */
export function partitionError(
  errorCode: number,
  doing: string,
  details: ErrorDetails,
): PipelineError {
  if (errorCode !== UNKNOWN_TOPIC_OR_PARTITION) return kafkaError(errorCode, doing, details);
  return new PipelineError('KAFKA_UNAVAILABLE', `${doing}: the broker does not know it (now)`, {
    details: { ...details, kafkaError: errorCode },
  });
}

export function throwIfKafkaError(errorCode: number, doing: string, details?: ErrorDetails): void {
  if (errorCode !== NONE) throw kafkaError(errorCode, doing, details);
}

/** kafkajs's error names that mean: the broker cannot be reached or has not answered. */
const UNREACHABLE = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSLockTimeout',
  'KafkaJSTimeout',
  'KafkaJSNoBrokerAvailableError',
  'KafkaJSGroupCoordinatorNotFound',
]);

/** Node's error codes of a refused certificate or a TLS talk with a plain port. */
const TLS_REFUSED = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|ERR_TLS|ERR_SSL|EPROTO/;

/** Classifies what kafkajs or a socket threw. */
export function classifyClientError(error: unknown, doing: string): PipelineError {
  if (error instanceof PipelineError) return error;
  if (!(error instanceof Error)) return unexpected(error, doing);
  const { name, code, cause } = error as Error & { code?: unknown };
  if (name === 'KafkaJSSASLAuthenticationError') {
    return new PipelineError('KAFKA_AUTH', `${doing}: the broker refused the login`, {
      cause: error,
    });
  }
  if (TLS_REFUSED.test(String(code))) {
    return new PipelineError('KAFKA_AUTH', `${doing}: TLS failed (${String(code)})`, {
      cause: error,
    });
  }
  if (typeof code === 'number') return kafkaError(code, doing);
  if (UNREACHABLE.has(name)) {
    return new PipelineError('KAFKA_UNAVAILABLE', `${doing}: ${error.message}`, { cause: error });
  }
  // KafkaJSNumberOfRetriesExceeded and aggregates carry the reason inside.
  const inner = cause ?? (error as { errors?: unknown[] }).errors?.[0];
  return inner instanceof Error ? classifyClientError(inner, doing) : unexpected(error, doing);
}

function unexpected(error: unknown, doing: string): PipelineError {
  const message = error instanceof Error ? error.message : String(error);
  return new PipelineError('BUG_UNEXPECTED', `${doing}: ${message}`, { cause: error });
}
