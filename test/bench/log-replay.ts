import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const HEADER = 4;
const COM_BINLOG_DUMP = 0x12;
const COM_BINLOG_DUMP_GTID = 0x1e;
/** What is handed to the system at once: the reader, not this side, is to be the slower one. */
const WRITE_BYTES = 1024 * 1024;

/**
 * Stands between a reader and its server and passes everything on. What the server answers to the first
 * request for its log is recorded; from `replays` on every such request is answered with the recording, as
 * fast as the reader takes it, so that the server's own speed is no limit. The record is the packets as
 * they came from the server, nothing made up or left out.
 */
export class LogReplay implements AsyncDisposable {
  private readonly server: Server;
  private readonly serverPort: number;
  private readonly sockets = new Set<Socket>();
  private recorded: Buffer[] = [];
  private replaying = false;

  private constructor(serverPort: number) {
    this.serverPort = serverPort;
    this.server = createServer((reader) => this.joined(reader));
  }

  static async before(serverPort: number): Promise<LogReplay> {
    const replay = new LogReplay(serverPort);
    await new Promise<void>((resolve) => replay.server.listen(0, '127.0.0.1', resolve));
    return replay;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Ends the recording; answers how many bytes it has. */
  replays(): number {
    this.replaying = true;
    const whole = Buffer.concat(this.recorded);
    this.recorded = [];
    for (let at = 0; at < whole.length; at += WRITE_BYTES) {
      this.recorded.push(whole.subarray(at, at + WRITE_BYTES));
    }
    return whole.length;
  }

  private joined(reader: Socket): void {
    const server = connect(this.serverPort, '127.0.0.1');
    let dumping = false;
    for (const [socket, other] of [
      [reader, server],
      [server, reader],
    ] as const) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      // A reader that has seen enough just goes.
      socket.on('error', () => {});
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
    reader.on('data', (bytes) => {
      dumping ||= asksForLog(bytes);
      if (dumping && this.replaying) void this.answer(reader);
      else server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (dumping && !this.replaying) this.recorded.push(bytes);
      if (reader.write(bytes)) return;
      server.pause();
      reader.once('drain', () => server.resume());
    });
  }

  private async answer(reader: Socket): Promise<void> {
    for (const bytes of this.recorded) {
      if (reader.destroyed) return;
      await new Promise<void>((resolve) => reader.write(bytes, () => resolve()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** A command is the first packet of its exchange, and readers send each by itself. */
function asksForLog(bytes: Buffer): boolean {
  const command = bytes[HEADER];
  const whole = bytes.length >= HEADER && bytes.readUIntLE(0, 3) + HEADER === bytes.length;
  const asks = command === COM_BINLOG_DUMP || command === COM_BINLOG_DUMP_GTID;
  return whole && bytes[3] === 0 && asks;
}
