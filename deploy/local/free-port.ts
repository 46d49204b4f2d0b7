import { createServer } from 'node:net';

/**
 * Ports below the kernel's range for outgoing connections (32768 and up on Linux). A server that
 * is killed and started again must find its port free: inside that range a client that keeps
 * reconnecting can be given the very port it dials, and then talks to itself.
 */
const LOWEST = 20_000;
const HIGHEST = 32_000;
const TRIES = 200;

/** A loopback port which nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (await portIsFree(port)) return port;
  }
  throw new Error(`no free port between ${LOWEST} and ${HIGHEST}`);
}

/** Whether a server could listen on the loopback port now. */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      probe.close(() => resolve(true));
    });
  });
}
