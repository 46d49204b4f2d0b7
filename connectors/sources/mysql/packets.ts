import type { Socket } from 'node:net';
import type { ByteTaker } from './session-socket.ts';
import { uint24At } from './wire-integers.ts';

const HEADER = 4;
const LONGEST = 0xffffff;

/** A packet's bytes; valid until the next one is asked for. */
export interface Packet {
  bytes: Buffer;
  start: number;
  end: number;
}

const BUFFER_BYTES = 256 * 1024;
const LEAST_ROOM = 64 * 1024;

/** Cuts MySQL's packets out of what a socket delivers, joining those of 16 MiB. They are read where they
 * were received; what is incomplete moves to the front before more is received. */
export class PacketReader implements ByteTaker {
  private buffer: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  private pos = 0;
  private end = 0;
  private joined: Buffer[] = [];
  private readonly packet: Packet = { bytes: this.buffer, start: 0, end: 0 };

  room(): Buffer<ArrayBuffer> {
    this.makeRoom(LEAST_ROOM);
    return this.buffer.subarray(this.end);
  }

  filled(length: number): void {
    this.end += length;
  }

  push(chunk: Buffer): void {
    this.makeRoom(chunk.length);
    chunk.copy(this.buffer, this.end);
    this.end += chunk.length;
  }

  private makeRoom(least: number): void {
    const { buffer, pos, end } = this;
    const rest = end - pos;
    // Room for the whole packet at once, or a large one would be copied again and again.
    const wanted = rest >= HEADER ? buffer.readUIntLE(pos, 3) + HEADER : 0;
    const needed = Math.max(wanted, rest + least, BUFFER_BYTES);
    // What a large packet took is given back behind it.
    if (needed > buffer.length || (rest === 0 && buffer.length > needed)) {
      this.buffer = Buffer.allocUnsafeSlow(needed);
      buffer.copy(this.buffer, 0, pos, end);
    } else if (pos > 0) buffer.copyWithin(0, pos, end);
    this.pos = 0;
    this.end = rest;
  }

  next(): Packet | null {
    for (;;) {
      if (this.end - this.pos < HEADER) return null;
      const length = uint24At(this.buffer, this.pos);
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
