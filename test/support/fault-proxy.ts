import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';

/** Cuts one direction of a connection into messages and says what each is. */
interface Framing {
  /** Bytes of the next whole message at the start of `bytes`, or 0 when more must come. */
  length(bytes: Buffer): number;
  kind(message: Buffer): string | null;
}

export type Protocol = 'kafka' | 'postgres';
export type Direction = 'toServer' | 'toClient';

/**
 * A TCP proxy before a real server that breaks what passes: `await using proxy = await
 * FaultProxy.listen('kafka')`, then `to(port)`. Faults hit the links that are open at the time, unless
 * they say otherwise; a link that is opened later works.
 */
export class FaultProxy implements AsyncDisposable {
  readonly host = '127.0.0.1';
  private readonly server: Server;
  private readonly protocol: Protocol | null;
  private readonly links = new Set<Link>();
  private readonly dropped: { kind: string; times: number; done: () => void }[] = [];
  private upstream = 0;
  private cut: { direction: Direction; bytes: number; done: () => void } | null = null;
  private latencyMs = 0;

  private constructor(protocol: Protocol | null) {
    this.protocol = protocol;
    this.server = createServer((client) => this.accept(client));
  }

  static async listen(protocol: Protocol | null = null): Promise<FaultProxy> {
    const proxy = new FaultProxy(protocol);
    proxy.server.listen(0, proxy.host);
    await once(proxy.server, 'listening');
    return proxy;
  }

  to(port: number): this {
    this.upstream = port;
    return this;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  /** Nothing passes any more on the open links, in one direction or in both, and no socket closes: a
   * cable that was pulled. What was sent arrives when the cable is back (`heal`). */
  blackHole(directions: readonly Direction[] = ['toServer', 'toClient']): void {
    for (const link of this.links) for (const direction of directions) link.hold(direction);
  }

  heal(): void {
    for (const link of this.links) link.release();
  }

  /** Ends every open link with a reset. */
  reset(): void {
    for (const link of this.links) link.reset();
  }

  /** From now on, on old and new links alike, everything arrives this much later. */
  delay(ms: number): void {
    this.latencyMs = ms;
  }

  /** Resets the first link over which so many more bytes have gone in that direction, in the middle
   * of whatever they belong to. Resolves then. */
  cutAfter(bytes: number, direction: Direction): Promise<void> {
    return new Promise((done) => {
      this.cut = { direction, bytes, done };
    });
  }

  /** Swallows the next `times` answers of a kind, and resets their links: the server has done what was
   * asked, and who asked never learns. The kind is a Kafka API key, or a Postgres command tag. Resolves
   * at the last of them. */
  dropAnswers(kind: string | number, times = 1): Promise<void> {
    return new Promise((done) => {
      this.dropped.push({ kind: String(kind), times, done });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
    this.server.close();
  }

  private accept(client: Socket): void {
    const link = new Link(client, connect(this.upstream, this.host), {
      protocol: this.protocol,
      latencyMs: () => this.latencyMs,
      swallows: (kind) => this.swallows(kind),
      cuts: (direction, bytes) => this.cuts(direction, bytes),
      over: () => this.links.delete(link),
    });
    this.links.add(link);
  }

  private swallows(kind: string): boolean {
    const index = this.dropped.findIndex((rule) => rule.kind === kind);
    const rule = this.dropped[index];
    if (rule === undefined) return false;
    rule.times--;
    if (rule.times > 0) return true;
    this.dropped.splice(index, 1);
    rule.done();
    return true;
  }

  private cuts(direction: Direction, bytes: number): boolean {
    const { cut } = this;
    if (cut?.direction !== direction) return false;
    cut.bytes -= bytes;
    if (cut.bytes > 0) return false;
    this.cut = null;
    cut.done();
    return true;
  }
}

interface LinkRules {
  readonly protocol: Protocol | null;
  latencyMs(): number;
  swallows(kind: string): boolean;
  cuts(direction: Direction, bytes: number): boolean;
  over(): void;
}

class Link {
  private readonly client: Socket;
  private readonly server: Socket;
  private readonly rules: LinkRules;
  private readonly answers: Splitter | null;
  private readonly requests: Splitter | null;

  constructor(client: Socket, server: Socket, rules: LinkRules) {
    this.client = client;
    this.server = server;
    this.rules = rules;
    const framings = rules.protocol === null ? null : FRAMINGS[rules.protocol]();
    this.answers = framings === null ? null : new Splitter(framings.answers);
    this.requests = framings?.requests == null ? null : new Splitter(framings.requests);
    client.setNoDelay(true);
    server.setNoDelay(true);
    client.on('data', (bytes) => this.pass('toServer', bytes as Buffer));
    server.on('data', (bytes) => this.pass('toClient', bytes as Buffer));
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('error', () => this.reset());
      from.on('end', () => to.end());
      from.on('close', () => this.closed());
    }
  }

  hold(direction: Direction): void {
    (direction === 'toServer' ? this.client : this.server).pause();
  }

  release(): void {
    this.client.resume();
    this.server.resume();
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.server.resetAndDestroy();
  }

  private closed(): void {
    this.rules.over();
    if (!this.client.destroyed) this.client.end();
    if (!this.server.destroyed) this.server.end();
  }

  private pass(direction: Direction, bytes: Buffer): void {
    const to = direction === 'toServer' ? this.server : this.client;
    if (this.rules.cuts(direction, bytes.length)) {
      to.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => this.reset());
      return;
    }
    if (direction === 'toServer') this.requests?.take(bytes);
    const swallowed =
      direction === 'toClient' &&
      (this.answers?.take(bytes) ?? []).some((kind) => this.rules.swallows(kind));
    if (swallowed) this.reset();
    else this.forward(to, bytes);
  }

  private forward(to: Socket, bytes: Buffer): void {
    const ms = this.rules.latencyMs();
    if (ms === 0) to.write(bytes);
    else setTimeout(() => to.write(bytes), ms);
  }
}

/** Collects bytes and answers the kinds of the messages that became whole. */
class Splitter {
  private readonly framing: Framing;
  private rest: Buffer = Buffer.alloc(0);

  constructor(framing: Framing) {
    this.framing = framing;
  }

  take(bytes: Buffer): string[] {
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const kinds: string[] = [];
    for (;;) {
      const length = this.framing.length(this.rest);
      if (length === 0 || length > this.rest.length) return kinds;
      const kind = this.framing.kind(this.rest.subarray(0, length));
      if (kind !== null) kinds.push(kind);
      this.rest = this.rest.subarray(length);
    }
  }
}

const FRAMINGS: Record<Protocol, () => { answers: Framing; requests: Framing | null }> = {
  /** An answer says only which request it belongs to, so requests are noted as they pass. */
  kafka: () => {
    const asked = new Map<number, number>();
    const length = (bytes: Buffer): number => (bytes.length < 4 ? 0 : 4 + bytes.readInt32BE(0));
    const requests: Framing = {
      length,
      kind: (message) => {
        asked.set(message.readInt32BE(8), message.readInt16BE(4));
        return null;
      },
    };
    const answers: Framing = {
      length,
      kind: (message) => {
        const apiKey = asked.get(message.readInt32BE(4));
        asked.delete(message.readInt32BE(4));
        return apiKey === undefined ? null : String(apiKey);
      },
    };
    return { answers, requests };
  },
  /** Of a session without TLS; the kind is the tag of a completed command. */
  postgres: () => ({
    requests: null,
    answers: {
      length: (bytes) => (bytes.length < 5 ? 0 : 1 + bytes.readInt32BE(1)),
      kind: (message) =>
        message[0] === 0x43 ? message.toString('latin1', 5, message.length - 1) : null,
    },
  }),
};
