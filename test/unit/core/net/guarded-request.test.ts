import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { guardedRequest } from '../../../../core/net/guarded-request.ts';
import { OutgoingRules } from '../../../../core/net/outgoing-rules.ts';

const STRICT = new OutgoingRules([]);
const GET = { method: 'GET', timeoutMs: 5000 } as const;

/** Addresses that lead inside, in the forms that have got past guards before. */
const INSIDE = `
http://hooks.slack.com/services/x
ftp://example.com/
file:///etc/passwd
gopher://example.com/
data:text/plain,x
https://example.com:8443/
https://user:secret@example.com/
https://127.0.0.1/
https://127.1/
https://127.0.0.53/
https://0x7f000001/
https://0x7f.0.0.1/
https://2130706433/
https://017700000001/
https://0177.0.0.1/
https://127.0.0.1./
https://0/
https://0.0.0.0/
https://10.0.0.1/
https://10.255.255.255/
https://100.64.0.1/
https://169.254.169.254/latest/meta-data/
https://0xa9fea9fe/
https://2852039166/
https://172.16.0.1/
https://172.31.255.255/
https://192.0.0.192/
https://192.0.2.1/
https://192.168.1.1/
https://198.18.0.1/
https://198.51.100.7/
https://203.0.113.9/
https://224.0.0.1/
https://240.0.0.1/
https://255.255.255.255/
https://[::]/
https://[::1]/
https://[0:0:0:0:0:0:0:1]/
https://[::127.0.0.1]/
https://[::ffff:127.0.0.1]/
https://[::ffff:7f00:1]/
https://[::ffff:a9fe:a9fe]/
https://[::ffff:10.0.0.1]/
https://[64:ff9b::7f00:1]/
https://[64:ff9b::a9fe:a9fe]/
https://[2001:db8::1]/
https://[2001::1]/
https://[2002:7f00:1::]/
https://[fc00::1]/
https://[fd00:ec2::254]/
https://[fe80::1]/
https://[fec0::1]/
https://[ff02::1]/
https://①②⑦.⓪.⓪.①/
https://127。0。0。1/
not a url
`
  .trim()
  .split('\n');

describe('the guard of outgoing calls', () => {
  it('refuses every address that leads inside, without a look-up', async () => {
    const noLookUp = () => Promise.reject(new Error('looked up'));
    for (const address of INSIDE) {
      const failed = guardedRequest(STRICT, address, GET, noLookUp);
      await expect(failed, address).rejects.toMatchObject({ code: 'CFG_ADDRESS_FORBIDDEN' });
    }
  });

  it('refuses a name when one of its addresses leads inside', async () => {
    for (const inside of ['127.0.0.1', '169.254.169.254', '::1', '::ffff:10.0.0.1', 'fd00::1']) {
      const answers = () => Promise.resolve([{ address: '93.184.216.34' }, { address: inside }]);
      const failed = guardedRequest(STRICT, 'https://rebind.example/', GET, answers);
      await expect(failed, inside).rejects.toMatchObject({
        code: 'CFG_ADDRESS_FORBIDDEN',
        message: 'rebind.example is not an address of the public internet',
      });
    }
  });

  it('lets public addresses pass', () => {
    for (const address of [
      'https://hooks.slack.com/x',
      'https://8.8.8.8/',
      'https://[2606:4700::1]/',
    ]) {
      STRICT.checkUrl(new URL(address));
    }
    STRICT.checkAddress(new URL('https://hooks.slack.com/'), '52.1.2.3');
  });

  it('asks a listed host, resolves its name once and follows no redirection', async () => {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.host}`);
      response.writeHead(302, { location: 'http://169.254.169.254/' }).end('moved');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const rules = new OutgoingRules([`hooks.internal:${port}`]);
      let lookUps = 0;
      const resolve = () => {
        lookUps++;
        return Promise.resolve([{ address: '127.0.0.1' }]);
      };
      const url = `http://hooks.internal:${port}/secret-path`;
      const answer = await guardedRequest(
        rules,
        url,
        { ...GET, method: 'POST', body: '{}' },
        resolve,
      );
      expect(answer).toEqual({ status: 302, text: 'moved' });
      expect(seen).toEqual([`POST /secret-path hooks.internal:${port}`]);
      expect(lookUps).toBe(1);
      const other = guardedRequest(rules, `http://hooks.internal:${port + 1}/`, GET, resolve);
      await expect(other).rejects.toMatchObject({ code: 'CFG_ADDRESS_FORBIDDEN' });
    } finally {
      server.close();
    }
  });

  it('says which host does not answer, and nothing of the path', async () => {
    const rules = new OutgoingRules(['127.0.0.0/8']);
    const failed = guardedRequest(rules, 'http://127.0.0.1:1/secret-path', GET);
    await expect(failed).rejects.toMatchObject({
      code: 'CFG_ADDRESS_UNREACHABLE',
      message: '127.0.0.1 cannot be reached ECONNREFUSED',
    });
  });

  it('refuses an entry of the list that cannot be read', () => {
    for (const entry of ['10.0.0.0/99', 'http://x', 'a b', '*']) {
      expect(() => new OutgoingRules([entry]), entry).toThrow(/HEADRACE_OUTGOING_ALLOW/);
    }
  });
});
