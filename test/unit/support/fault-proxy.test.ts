import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FaultProxy } from '../../support/fault-proxy.ts';

/** The server echoes in capitals. */
let server: Server;
let port: number;

beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => socket.write(bytes.toString().toUpperCase()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});

afterAll(() => {
  server.close();
});

interface Client {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  heard(): string;
}

async function open(proxy: FaultProxy): Promise<Client> {
  const socket = connect(proxy.port, proxy.host);
  let text = '';
  socket.on('data', (bytes) => (text += bytes.toString()));
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, closed, heard: () => text };
}

describe('the fault proxy', () => {
  it.each([['both ways'], ['to the server'], ['to the client']])(
    'holds what passes %s, and lets it through when the cable is back',
    async (way) => {
      await using proxy = (await FaultProxy.listen()).to(port);
      const { socket, heard } = await open(proxy);
      socket.write('a');
      await expect.poll(heard).toBe('A');
      if (way === 'both ways') proxy.blackHole();
      else proxy.blackHole([way === 'to the server' ? 'toServer' : 'toClient']);
      socket.write('b');
      await delay(50);
      expect(heard()).toBe('A');
      expect(socket.destroyed).toBe(false);
      proxy.heal();
      await expect.poll(heard).toBe('AB');
      socket.destroy();
    },
  );

  it('delays', async () => {
    await using proxy = (await FaultProxy.listen()).to(port);
    proxy.delay(40);
    const { socket, heard } = await open(proxy);
    const started = performance.now();
    socket.write('a');
    await expect.poll(heard).toBe('A');
    expect(performance.now() - started).toBeGreaterThanOrEqual(75);
    socket.destroy();
  });

  it('resets, at once or in the middle of what passes', async () => {
    await using proxy = (await FaultProxy.listen()).to(port);
    const first = await open(proxy);
    first.socket.write('a');
    await expect.poll(first.heard).toBe('A');
    proxy.reset();
    await first.closed;
    const second = await open(proxy);
    const cut = proxy.cutAfter(6, 'toClient');
    second.socket.write('abcd');
    await expect.poll(second.heard).toBe('ABCD');
    second.socket.write('efgh');
    await cut;
    await second.closed;
    expect('ABCDEF').toContain(second.heard());
  });
});
