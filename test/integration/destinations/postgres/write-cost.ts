/**
 * What a written event costs: `node test/integration/destinations/postgres/write-cost.ts`. CPU of this
 * process and of the server's backends, in microseconds per event; one JSON object as last line.
 */
import { readFileSync } from 'node:fs';
import type { DestinationStream } from '../../../../connectors/spi/destination.ts';
import { postgresContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, type TestTarget } from './target.ts';

const COLUMNS: Columns = {
  id: { kind: 'int64', native: 'bigint' },
  name: { kind: 'string', native: 'text' },
  amount: { kind: 'decimal', native: 'numeric(12,2)' },
  at: { kind: 'timestamp', native: 'timestamp without time zone' },
  zoned: { kind: 'timestamptz', native: 'timestamp with time zone' },
  flag: { kind: 'boolean', native: 'boolean' },
  note: { kind: 'string', native: 'text' },
  quantity: { kind: 'int32', native: 'integer' },
  doc: { kind: 'json', native: 'jsonb' },
};

function fill(log: EventLog, events: number): void {
  for (let i = 0; i < events; i++) {
    const key = (i * 7919) % 50_000;
    const row = {
      id: BigInt(key),
      name: `customer name ${key}`,
      amount: ((i * 1.25) % 100_000).toFixed(2),
      at: 1_700_000_000_000_000n + BigInt(i),
      zoned: '2024-03-31T02:30:00.123456Z',
      flag: true,
      note: `a note with some words ${i}`,
      quantity: i,
      doc: '{"a": 1}',
    };
    if (log.stream.mode === 'append_dedup' && i % 10 === 9) log.delete(row);
    else log.create(row);
  }
}

async function backendCpuMs(target: TestTarget): Promise<number> {
  const rows = await target.rows(
    `SELECT pid FROM pg_stat_activity WHERE application_name='headrace' AND datname=current_database()`,
  );
  let ticks = 0;
  for (const { pid } of rows) {
    const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
      .split(') ')[1]
      ?.split(' ');
    ticks += Number(fields?.[11]) + Number(fields?.[12]);
  }
  return ticks * 10;
}

async function cost(target: TestTarget, stream: DestinationStream, events: number, size: number) {
  const log = new EventLog(target.schemas, stream, COLUMNS);
  fill(log, events);
  const writer = target.writer();
  await writer.open(log.target);
  const warm = Math.min(log.count, size * 2);
  for (let at = 0; at < warm; at += size) await writer.write([log.batch(at, at + size)]);
  const [server, own, start] = [await backendCpuMs(target), process.cpuUsage(), performance.now()];
  for (let at = warm; at < log.count; at += size) {
    await writer.write([log.batch(at, Math.min(log.count, at + size))]);
  }
  const measured = log.count - warm;
  const wallMs = performance.now() - start;
  const { user, system } = process.cpuUsage(own);
  const serverMs = (await backendCpuMs(target)) - server;
  await writer.close();
  return {
    node: round((user + system) / measured),
    server: round((serverMs * 1000) / measured),
    wallPerBatchMs: round((wallMs * size) / measured),
  };
}

const round = (value: number) => Math.round(value * 100) / 100;

await using server = await postgresContext();
await using target = await newTarget(server);
await cost(target, appended('warm'), 40_000, 5000);
const result = {
  upsert5000: await cost(target, deduped('u5000'), 100_000, 5000),
  upsert500: await cost(target, deduped('u500'), 50_000, 500),
  append5000: await cost(target, appended('a5000'), 100_000, 5000),
  append500: await cost(target, appended('a500'), 50_000, 500),
  upsert1: await cost(target, deduped('u1'), 500, 1),
};
console.log(JSON.stringify(result));
