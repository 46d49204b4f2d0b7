import { BlockList, isIP, isIPv4 } from 'node:net';
import { PipelineError } from '../errors/pipeline-error.ts';

/** Ranges that no address of the public internet lies in. */
const NOT_PUBLIC: readonly (readonly [address: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  ['::', 96],
  ['::1', 128],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 9],
  ['ff00::', 8],
];

const FAMILY = { 4: 'ipv4', 6: 'ipv6' } as const;

/**
 * Where an address that came in through the API may lead this program: to public addresses by https
 * on port 443, and to whatever the operator lists. Without it a webhook is a way to ask any server
 * that this machine can reach, and the cloud's metadata service for its keys.
 */
export class OutgoingRules {
  private readonly notPublic = rangesOf(NOT_PUBLIC);
  private readonly ranges: BlockList;
  private readonly hosts: ReadonlySet<string>;

  /** Entries are `host`, `host:port`, an address or a range in CIDR form (HEADRACE_OUTGOING_ALLOW).
   * Throws CFG_INVALID_SETTING. */
  constructor(allow: readonly string[]) {
    const parsed = allow.map(parseEntry);
    this.ranges = rangesOf(parsed.flatMap((each) => ('range' in each ? [each.range] : [])));
    this.hosts = new Set(parsed.flatMap((each) => ('host' in each ? [each.host] : [])));
  }

  /** What can be said before the name is resolved. Throws CFG_ADDRESS_FORBIDDEN. */
  checkUrl(url: URL): void {
    const host = hostOf(url);
    if (this.isListed(url)) return;
    if (url.protocol !== 'https:') throw forbidden(host, 'is not an https address');
    if (url.port !== '') throw forbidden(host, `has the port ${url.port}, not 443`);
    if (url.username !== '' || url.password !== '') throw forbidden(host, 'carries a login');
    if (isIP(host) !== 0) this.checkAddress(url, host);
  }

  /** Of an address that the name was resolved to; the connection must go to this very address, for
   * a second look-up may answer another one. Throws CFG_ADDRESS_FORBIDDEN. */
  checkAddress(url: URL, address: string): void {
    if (this.isListed(url) || !this.notPublic.check(address, familyOf(address))) return;
    throw forbidden(hostOf(url), 'is not an address of the public internet');
  }

  private isListed(url: URL): boolean {
    const host = hostOf(url);
    if (this.hosts.has(host) || this.hosts.has(`${host}:${portOf(url)}`)) return web(url);
    return isIP(host) !== 0 && this.ranges.check(host, familyOf(host)) && web(url);
  }
}

/** A URL's host without the brackets of IPv6 and the dot that ends an absolute name. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function portOf(url: URL): string {
  if (url.port !== '') return url.port;
  return url.protocol === 'https:' ? '443' : '80';
}

function web(url: URL): boolean {
  return url.protocol === 'https:' || url.protocol === 'http:';
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6';
}

function rangesOf(ranges: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of ranges) list.addSubnet(address, prefix, familyOf(address));
  return list;
}

type Entry = { readonly host: string } | { readonly range: readonly [string, number] };

function parseEntry(text: string): Entry {
  const [address = '', prefix] = text.split('/');
  const version = isIP(address) as 0 | 4 | 6;
  if (version !== 0) {
    const bits = FAMILY[version] === 'ipv4' ? 32 : 128;
    const length = prefix === undefined ? bits : Number(prefix);
    if (Number.isInteger(length) && length >= 0 && length <= bits)
      return { range: [address, length] };
  } else if (/^[a-z0-9_][a-z0-9._-]*(:\d{1,5})?$/i.test(text)) {
    return { host: text.toLowerCase() };
  }
  throw new PipelineError(
    'CFG_INVALID_SETTING',
    `HEADRACE_OUTGOING_ALLOW has ${JSON.stringify(text)}, which is no host, address or CIDR range`,
  );
}

/** The host alone is named: path and query of a webhook are its secret (invariant 8). */
function forbidden(host: string, why: string): PipelineError {
  return new PipelineError('CFG_ADDRESS_FORBIDDEN', `${host} ${why}`, { details: { host } });
}
