import type { Socket } from 'node:net';

const HEADER = 4;
const LONGEST = 0xffffff;

/** A packet's bytes; valid until the next one is asked for. */
export interface Packet {
  bytes: Buffer;
  start: number;
  end: number;
}

/** Cuts MySQL's packets out of what a socket delivers, joining those of 16 MiB. */
export class PacketReader {
  private buffer: Buffer = Buffer.alloc(0);
  private pos = 0;
  private end = 0;
  private joined: Buffer[] = [];
  private readonly packet: Packet = { bytes: this.buffer, start: 0, end: 0 };

  push(chunk: Buffer): void {
    const rest = this.end - this.pos;
    if (rest === 0) {
      this.buffer = chunk;
      this.pos = 0;
      this.end = chunk.length;
      return;
    }
    // Room for the whole packet at once, or a large one would be copied again by every chunk.
    const wanted = rest >= HEADER ? this.buffer.readUIntLE(this.pos, 3) + HEADER : 0;
    const needed = rest + chunk.length;
    if (this.end + chunk.length > this.buffer.length || this.pos > 0) {
      const grown =
        this.pos === 0 && needed <= this.buffer.length
          ? this.buffer
          : Buffer.allocUnsafe(Math.max(needed, wanted));
      this.buffer.copy(grown, 0, this.pos, this.end);
      this.buffer = grown;
      this.pos = 0;
      this.end = rest;
    }
    chunk.copy(this.buffer, this.end);
    this.end += chunk.length;
  }

  next(): Packet | null {
    for (;;) {
      if (this.end - this.pos < HEADER) return null;
      const length = this.buffer.readUIntLE(this.pos, 3);
      const start = this.pos + HEADER;
      if (this.end < start + length) return null;
      this.pos = start + length;
      if (length === LONGEST) {
        this.joined.push(Buffer.from(this.buffer.subarray(start, this.pos)));
        continue;
      }
      return this.whole(start);
    }
  }

  private whole(start: number): Packet {
    const { packet } = this;
    if (this.joined.length === 0) {
      packet.bytes = this.buffer;
      packet.start = start;
      packet.end = this.pos;
      return packet;
    }
    packet.bytes = Buffer.concat([...this.joined, this.buffer.subarray(start, this.pos)]);
    packet.start = 0;
    packet.end = packet.bytes.length;
    this.joined = [];
    return packet;
  }
}

/** A command is a packet of its own, number 0 of its exchange. */
export function sendCommand(socket: Socket, command: number, body: Buffer): void {
  const packet = Buffer.alloc(HEADER + 1 + body.length);
  packet.writeUIntLE(body.length + 1, 0, 3);
  packet[HEADER] = command;
  body.copy(packet, HEADER + 1);
  socket.write(packet);
}

/** Length of the last integer read by `lengthAt`: a global instead of an object per value. */
export let lengthBytes = 0;

/** A length-encoded integer; -1 for SQL NULL. */
export function lengthAt(bytes: Buffer, pos: number): number {
  const first = bytes[pos] as number;
  lengthBytes = first < 0xfb ? 1 : first === 0xfc ? 3 : first === 0xfd ? 4 : first === 0xfe ? 9 : 1;
  if (first < 0xfb) return first;
  if (first === 0xfb) return -1;
  if (first === 0xfc) return bytes.readUInt16LE(pos + 1);
  if (first === 0xfd) return bytes.readUIntLE(pos + 1, 3);
  return bytes.readUInt32LE(pos + 1) + bytes.readUInt32LE(pos + 5) * 0x100000000;
}

export function errorOf(packet: Packet): { number: number; text: string } {
  const { bytes, start, end } = packet;
  const state = bytes[start + 3] === 0x23 ? 6 : 0;
  return {
    number: bytes.readUInt16LE(start + 1),
    text: bytes.toString('utf8', start + 3 + state, end),
  };
}
