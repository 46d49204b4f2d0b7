import { createRequire } from 'node:module';
import type { ConnectionOptions } from 'node:tls';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { classifyClientError } from '../errors.ts';
import { ByteWriter } from './bytes.ts';

/**
 * The one file that knows the inside of kafkajs (2.2.4, pinned). From it we take what is tedious and
 * proven: sockets, TLS, SASL, framing, correlation and time-outs, and the admin client. What crosses
 * the wire is encoded by us and goes to the socket as it is: kafkajs's own path copies each request
 * three times.
 */

export interface KafkaSettings {
  /** `host:port` of the brokers to begin with. */
  readonly brokers: readonly string[];
  readonly clientId?: string;
  readonly tls?: ConnectionOptions | null;
  readonly sasl?: SaslSettings | null;
}

export interface SaslSettings {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** Version ranges of the broker's requests by API key, and its finalized features. */
export interface BrokerAbilities {
  readonly apis: ReadonlyMap<number, { min: number; max: number }>;
  readonly features: ReadonlyMap<string, number>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

interface RequestQueue {
  push(request: {
    entry: Record<string, unknown>;
    expectResponse: boolean;
    requestTimeout: number;
    sendRequest: () => void;
  }): void;
  rejectAll(error: Error): void;
  destroy(): void;
  pending: unknown[];
  scheduleCheckPendingRequests(): void;
}

interface KafkajsConnection {
  readonly requestQueue: RequestQueue;
  readonly clientId: string;
  readonly sasl: unknown;
  readonly socket?: import('node:net').Socket;
  connectionStatus: string;
  connect(): Promise<unknown>;
  authenticate(): Promise<void>;
  isAuthenticated(): boolean;
  isConnected(): boolean;
  setVersions(versions: Record<number, { minVersion: number; maxVersion: number }>): void;
  setSupportAuthenticationProtocol(supported: boolean): void;
  nextCorrelationId(): number;
}

const require = createRequire(import.meta.url);
const Connection = require('kafkajs/src/network/connection') as new (
  options: Record<string, unknown>,
) => KafkajsConnection;
const socketFactory = (
  require('kafkajs/src/network/socketFactory') as () => (o: unknown) => import('node:net').Socket
)();
const { createLogger } = require('kafkajs/src/loggers') as {
  createLogger: (options: unknown) => unknown;
};
const requestQueueClass = require('kafkajs/src/network/requestQueue') as {
  prototype: RequestQueue;
};

// kafkajs arms a timer after every answer, with a negative delay, of which Node warns each time. It
// is needed only while requests wait for their turn.
const scheduleCheck = requestQueueClass.prototype.scheduleCheckPendingRequests;
requestQueueClass.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) scheduleCheck.call(this);
};

const silent = createLogger({ level: logLevel.NOTHING, logCreator: () => () => {} });

/** kafkajs's admin client, for what is asked rarely: topics, configurations, group offsets. */
export function kafkajsAdmin(settings: KafkaSettings): Admin {
  return new Kafka({
    brokers: [...settings.brokers],
    clientId: settings.clientId ?? 'headrace',
    logLevel: logLevel.NOTHING,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    ...(settings.tls == null ? {} : { ssl: settings.tls }),
    ...(settings.sasl == null ? {} : { sasl: settings.sasl as never }),
    retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 6 },
  }).admin();
}

/** An answer's body with the broker it came from, for messages. */
export interface WireRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  /** Header tags and body; large parts stay buffers of their own and are not copied. */
  readonly body: readonly Buffer[];
  /** Longest wait for the answer; default 30 s. */
  readonly timeoutMs?: number;
}

/** One socket to one broker. Requests are written in the order of the calls. */
export class BrokerConnection {
  readonly address: string;
  private readonly connection: KafkajsConnection;
  private closed = false;

  private constructor(host: string, port: number, settings: KafkaSettings) {
    this.address = `${host}:${port}`;
    this.connection = new Connection({
      host,
      port,
      logger: silent,
      socketFactory: (options: unknown) => socketFactory(options).setNoDelay(true),
      requestTimeout: 1000,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      clientId: settings.clientId ?? 'headrace',
      ssl: settings.tls ?? null,
      // Each connection's own copy: kafkajs keeps the authenticator in it.
      sasl: settings.sasl == null ? null : { ...settings.sasl },
    });
  }

  /** Connects, asks the broker what it can (`askAbilities`), logs in. */
  static async open(
    host: string,
    port: number,
    settings: KafkaSettings,
    askAbilities: (connection: BrokerConnection) => Promise<BrokerAbilities>,
  ): Promise<{ connection: BrokerConnection; abilities: BrokerAbilities }> {
    const connection = new BrokerConnection(host, port, settings);
    const inner = connection.connection;
    try {
      await inner.connect();
      const abilities = await askAbilities(connection);
      inner.setVersions(
        Object.fromEntries(
          [...abilities.apis].map(([key, v]) => [key, { minVersion: v.min, maxVersion: v.max }]),
        ),
      );
      inner.setSupportAuthenticationProtocol(abilities.apis.has(SASL_AUTHENTICATE));
      await inner.authenticate();
      return { connection, abilities };
    } catch (error) {
      connection.close();
      throw classifyClientError(error, `connecting to the broker at ${connection.address}`);
    }
  }

  get isOpen(): boolean {
    return !this.closed && this.connection.isConnected();
  }

  /** Sends a request and resolves with the answer behind its correlation id. Rejects with
   * KAFKA_UNAVAILABLE when the connection ends or the time is over. */
  async request(request: WireRequest): Promise<Buffer> {
    const mustLogIn = this.connection.sasl != null && request.apiKey !== API_VERSIONS;
    if (mustLogIn && !this.connection.isAuthenticated()) await this.connection.authenticate();
    return this.push(request);
  }

  private push(request: WireRequest): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) {
        reject(this.lost('is not connected'));
        return;
      }
      const correlationId = this.connection.nextCorrelationId();
      const header = requestHeader(request, correlationId, this.connection.clientId);
      this.connection.requestQueue.push({
        entry: {
          apiKey: request.apiKey,
          apiName: `request ${request.apiKey}`,
          apiVersion: request.apiVersion,
          correlationId,
          resolve: (answer: { payload: Buffer }) => resolve(answer.payload),
          reject: (error: unknown) =>
            reject(classifyClientError(error, `waiting for the broker at ${this.address}`)),
        },
        expectResponse: true,
        requestTimeout: request.timeoutMs ?? REQUEST_TIMEOUT_MS,
        sendRequest: () => this.write(header, request.body),
      });
    });
  }

  private write(header: Buffer, body: readonly Buffer[]): void {
    const { socket } = this.connection;
    socket?.cork();
    socket?.write(header);
    for (const part of body) socket?.write(part);
    socket?.uncork();
  }

  /** Ends the connection at once; what waits for an answer is rejected. Not kafkajs's `disconnect`,
   * which waits for answers that a dead broker never sends. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.connection.requestQueue.rejectAll(this.lost('was closed'));
    this.connection.requestQueue.destroy();
    this.connection.connectionStatus = 'disconnected';
    this.connection.socket?.destroy();
  }

  private lost(what: string): PipelineError {
    return new PipelineError('KAFKA_UNAVAILABLE', `the connection to ${this.address} ${what}`);
  }
}

const API_VERSIONS = 18;
const SASL_AUTHENTICATE = 36;

function requestHeader(request: WireRequest, correlationId: number, clientId: string): Buffer {
  let size = 2 + 2 + 4 + 2 + Buffer.byteLength(clientId);
  for (const part of request.body) size += part.length;
  const writer = new ByteWriter(64)
    .int32(size)
    .int16(request.apiKey)
    .int16(request.apiVersion)
    .int32(correlationId)
    .int16(Buffer.byteLength(clientId));
  return writer.raw(Buffer.from(clientId)).view();
}
