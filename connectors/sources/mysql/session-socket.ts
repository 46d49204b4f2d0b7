import { connect, type Socket } from 'node:net';

const LOGIN_BYTES = 16 * 1024;

/** Takes a socket's bytes: into its own buffer as long as it is asked where they shall go. */
export interface ByteTaker {
  /** Where the next bytes go; asked for when all earlier ones were taken. */
  room(): Buffer<ArrayBuffer>;
  /** So many bytes lie in the room given last. */
  filled(length: number): void;
  /** Bytes that lie elsewhere, to be copied. */
  push(bytes: Buffer): void;
}

interface Route {
  taker: ByteTaker | null;
  taken: () => void;
}

const routes = new WeakMap<Socket, Route>();

/**
 * A socket for mysql2 to log in by, that later reads into a buffer of ours. By itself Node gives each
 * 64 KB a new buffer, which costs the memory manager more than reading the log does.
 */
export function openSocket(host: string, port: number): Socket {
  const route: Route = { taker: null, taken: () => {} };
  const forLogin = Buffer.allocUnsafeSlow(LOGIN_BYTES);
  let room = forLogin;
  const socket = connect({
    host,
    port,
    keepAlive: true,
    noDelay: true,
    onread: {
      buffer: () => (room = route.taker?.room() ?? forLogin),
      callback: (length, bytes) => {
        const { taker } = route;
        if (taker === null) {
          // mysql2 keeps what it is given.
          socket.emit('data', Buffer.from(bytes.subarray(0, length)));
          return true;
        }
        // The first bytes still come where the login's did.
        if (room === forLogin) taker.push(forLogin.subarray(0, length));
        else taker.filled(length);
        route.taken();
        return true;
      },
    },
  });
  routes.set(socket, route);
  return socket;
}

/** What the socket receives goes to `taker`, and `taken` is called. Under TLS the engine has no way into
 * our buffer: there the bytes are copied. */
export function readInto(socket: Socket, taker: ByteTaker, taken: () => void): void {
  const route = routes.get(socket);
  if (route !== undefined) {
    route.taker = taker;
    route.taken = taken;
    return;
  }
  socket.on('data', (bytes: Buffer) => {
    taker.push(bytes);
    taken();
  });
}
