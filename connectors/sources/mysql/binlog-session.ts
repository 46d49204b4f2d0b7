import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import type { Connection } from 'mysql2';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { classify, classifyDump } from './errors.ts';
import { errorOf, PacketReader, sendCommand, type Packet } from './packets.ts';
import { query, takeSocket } from './session.ts';
import { readInto } from './session-socket.ts';

const COM_BINLOG_DUMP = 0x12;
const COM_REGISTER_REPLICA = 0x15;
const HEARTBEAT_NS = 1_000_000_000;

/** Reasons for not reading on, which may hold together. */
export const HELD_BY_BUFFER = 1;
export const HELD_BY_SCHEMA = 2;
export const HELD_BY_PREPARED = 4;

export interface BinlogHandler {
  /** One event, without the packet's first byte. */
  event(bytes: Buffer, start: number, end: number): void;
  /** An event inside an event is waiting to be handled; false when there is none. */
  more(): boolean;
  /** Everything that was received has been handled. */
  chunkDone(): void;
  failed(error: PipelineError): void;
}

/** Our number among the server's replicas: the same at each start, so that the server ends the session
 * of an instance before us instead of keeping both. Numbers above 2^31 are nobody else's. */
export function replicaId(sourceId: string): number {
  return (0x80000000 | (crc32(sourceId) & 0x7fffffff)) >>> 0;
}

function replicaUuid(sourceId: string): string {
  const hex = createHash('sha256').update(sourceId).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** Reads the binary log over the socket of a session that mysql2 has logged in. */
export class BinlogSession {
  private readonly connection: Connection;
  private readonly handler: BinlogHandler;
  private readonly silenceMs: number;
  private readonly packets = new PacketReader();
  private socket: Socket | null = null;
  private held = 0;
  private pumping = false;
  private lastHeard = Date.now();
  private watchdog: NodeJS.Timeout | null = null;
  private closed = false;
  private registering = true;

  constructor(connection: Connection, handler: BinlogHandler, silenceMs: number) {
    this.connection = connection;
    this.handler = handler;
    this.silenceMs = silenceMs;
  }

  async start(sourceId: string, file: string, offset: number): Promise<void> {
    const uuid = replicaUuid(sourceId);
    await query(
      this.connection,
      `SET @master_binlog_checksum = @@global.binlog_checksum,
        @source_binlog_checksum = @@global.binlog_checksum,
        @master_heartbeat_period = ${HEARTBEAT_NS}, @source_heartbeat_period = ${HEARTBEAT_NS},
        @slave_uuid = '${uuid}', @replica_uuid = '${uuid}', @mariadb_slave_capability = 4`,
    );
    const socket = takeSocket(this.connection);
    this.socket = socket;
    readInto(socket, this.packets, () => {
      this.lastHeard = Date.now();
      this.pump();
    });
    const lost = (): void =>
      this.fail(new PipelineError('SRC_CONNECTION_LOST', 'the binary log session ended'));
    socket.on('end', lost);
    socket.on('close', lost);
    socket.on('error', (error) => this.fail(classify(error, 'reading the binary log')));
    socket.resume();
    this.watchdog = setInterval(() => this.watch(), Math.min(1000, this.silenceMs / 2));
    const id = replicaId(sourceId);
    sendCommand(socket, COM_REGISTER_REPLICA, registration(id));
    this.dump = dumpRequest(id, file, offset);
  }

  private dump: Buffer = Buffer.alloc(0);

  private watch(): void {
    if (this.held !== 0) {
      this.lastHeard = Date.now();
      return;
    }
    const silent = Date.now() - this.lastHeard;
    if (silent < this.silenceMs) return;
    this.fail(
      new PipelineError(
        'SRC_CONNECTION_LOST',
        `the server has sent nothing for ${Math.round(silent / 1000)} s`,
      ),
    );
  }

  private pump(): void {
    if (this.pumping || this.closed) return;
    this.pumping = true;
    try {
      for (;;) {
        if (this.held !== 0 || this.closed) break;
        if (this.handler.more()) continue;
        const packet = this.packets.next();
        if (packet === null) break;
        this.packet(packet);
      }
    } catch (error) {
      this.fail(toPipelineError(error));
    }
    this.pumping = false;
    if (!this.closed) this.handler.chunkDone();
  }

  private packet(packet: Packet): void {
    const { bytes, start, end } = packet;
    const tag = bytes[start];
    if (tag === 0xff) {
      const { number, text } = errorOf(packet);
      throw classifyDump(number, text);
    }
    if (this.registering) {
      this.registering = false;
      sendCommand(this.socket as Socket, COM_BINLOG_DUMP, this.dump);
      return;
    }
    if (tag === 0xfe && end - start < 9) {
      throw new PipelineError('SRC_CONNECTION_LOST', 'the server ended the binary log session');
    }
    this.handler.event(bytes, start + 1, end);
  }

  get waits(): boolean {
    return this.held !== 0;
  }

  hold(reason: number): void {
    if (this.held === 0) this.socket?.pause();
    this.held |= reason;
  }

  release(reason: number): void {
    if (this.held === 0) return;
    this.held &= ~reason;
    if (this.held !== 0 || this.closed) return;
    this.lastHeard = Date.now();
    this.pump();
    if (this.held === 0) this.socket?.resume();
  }

  private fail(error: PipelineError): void {
    if (this.closed) return;
    this.close();
    this.handler.failed(error);
  }

  close(): void {
    this.closed = true;
    if (this.watchdog !== null) clearInterval(this.watchdog);
    this.socket?.destroy();
    this.connection.destroy();
  }
}

/** Server id; host, user, password and port that SHOW REPLICAS would tell; rank and source id. */
function registration(id: number): Buffer {
  const body = Buffer.alloc(4 + 1 + 1 + 1 + 2 + 4 + 4);
  body.writeUInt32LE(id, 0);
  return body;
}

function dumpRequest(id: number, file: string, offset: number): Buffer {
  const body = Buffer.alloc(10 + Buffer.byteLength(file));
  body.writeUInt32LE(offset, 0);
  body.writeUInt32LE(id, 6);
  body.write(file, 10);
  return body;
}
