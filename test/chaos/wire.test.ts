import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../deploy/local/free-port.ts';
import type { HeadraceProcess } from '../../deploy/local/headrace.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { startRig, sync, until, type Rig } from '../support/rig.ts';
import { S3FaultProxy } from '../support/s3-fault-proxy.ts';
import { Site } from './matrix-site.ts';

const PRODUCE = 0;
const END_TXN = 26;
const LIMIT_MS = 120_000;

/** The whole product behind proxies that break what passes on the wire to each of its servers. */
describe('faults on the wire', () => {
  const open: AsyncDisposable[] = [];
  let rig: Rig;
  let kafka: FaultProxy;
  let target: FaultProxy;
  let source: FaultProxy;
  let objects: S3FaultProxy;
  let site: Site;
  /** Its source's cable is pulled at the start; all else goes on meanwhile. */
  let cutOff: Site;
  let cutAt = 0;
  let seenAgain: Promise<number>;
  const instances = new Map<Site, HeadraceProcess>();

  beforeAll(async () => {
    kafka = await FaultProxy.listen('kafka');
    const port = await freePort();
    rig = await startRig({
      roles: [],
      withMinio: true,
      kafka: {
        port,
        settings: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:${kafka.port}` },
      },
      sourceSettings: { wal_sender_timeout: '10s' },
    });
    kafka.to(port);
    target = (await FaultProxy.listen('postgres')).to(rig.target.port);
    source = (await FaultProxy.listen()).to(rig.source.port);
    objects = await S3FaultProxy.listen((rig.minio as LocalServer).url);
    site = await Site.make(rig, 'wired', { routes: { target, objects } });
    cutOff = await Site.make(rig, 'cut_off', { routes: { source } });
    open.push(site, cutOff, kafka, target, source, objects, rig);
    await Promise.all([site, cutOff].map(begin));
    source.blackHole();
    cutAt = Date.now();
    const version = await cutOff.write();
    // Watched from here on: how long the tests before take is no matter.
    seenAgain = until(
      'the watchdog to open anew',
      async () => (await cutOff.versionInMirror()) >= version,
      2 * LIMIT_MS,
    ).then(() => Date.now());
    seenAgain.catch(() => undefined);
  }, 240_000);

  afterAll(async () => {
    for (const each of open) await each[Symbol.asyncDispose]();
  });

  async function begin(each: Site): Promise<void> {
    const instance = await each.start();
    instances.set(each, instance);
    await each.connect(instance);
    await passBarriers(each);
  }

  async function passBarriers(each: Site): Promise<void> {
    const driver = each.driver(instances.get(each) as HeadraceProcess);
    for (const [name, id] of Object.entries(each.connections ?? {})) {
      await until(
        `the barrier of ${name}`,
        async () => (await sync(driver, id as string, LIMIT_MS)).job.status === 'succeeded',
        LIMIT_MS,
      );
    }
  }

  /** Writes until the fault has happened, and then until the work has gone on after it. */
  async function through(fault: Promise<void>): Promise<void> {
    let happened = false;
    void fault.then(() => {
      happened = true;
    });
    let version = 0;
    await until(
      'the fault to happen',
      async () => {
        version = await site.write();
        return happened;
      },
      LIMIT_MS,
    );
    await until(
      'the work to go on',
      async () => (await site.versionInMirror()) >= version,
      LIMIT_MS,
    );
  }

  it(
    'KA-02: a commit whose answer is lost, of EndTxn and of Produce',
    { timeout: LIMIT_MS },
    async () => {
      for (let i = 0; i < 3; i++) await through(kafka.dropAnswers(END_TXN));
      for (let i = 0; i < 3; i++) await through(kafka.dropAnswers(PRODUCE));
      await through(kafka.cutAfter(2_000, 'toServer'));
      await passBarriers(site);
      expect(await site.differences()).toEqual([]);
    },
  );

  it(
    'PT-01: the connection to the destination lost during COMMIT',
    { timeout: LIMIT_MS },
    async () => {
      for (let i = 0; i < 4; i++) await through(target.dropAnswers('COMMIT'));
      await through(target.cutAfter(1_000, 'toServer'));
      await passBarriers(site);
      expect(await site.differences()).toEqual([]);
    },
  );

  it(
    'S3-01, S3-02: refusals, and answers lost of claims and files',
    { timeout: 2 * LIMIT_MS },
    async () => {
      const faults = [
        objects.break('PutObject', /\.parquet$/, 'refused', 6),
        objects.break('PutObject', /_headrace\/.*\d\.json$/, 'lost'),
        objects.break('PutObject', /_head\.json$/, 'lost'),
      ];
      for (const fault of faults) await through(fault);
      await through(objects.break('PutObject', /\.parquet$/, 'lost'));
      await passBarriers(site);
      expect(await site.differences()).toEqual([]);
    },
  );

  it(
    'PG-02: a half-open connection to the source is found by its silence',
    { timeout: 2 * LIMIT_MS },
    async () => {
      expect((await seenAgain) - cutAt, 'nothing came over the cut cable').toBeGreaterThan(20_000);
      await passBarriers(cutOff);
      expect(await cutOff.differences()).toEqual([]);
    },
  );
});
