import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { DuckDBInstance } from '@duckdb/node-api';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
} from '../support/rig.ts';
import { plainCopy } from './physical-limits.ts';
import { cpuSeconds, loadAverage, peakMegabytes } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

/**
 * The first copy of a large real table, the 3,000,000 flights of vega-datasets: Postgres to Kafka
 * (until the stream follows the log) and on to a deduped table; each service a process of its own.
 */
export async function snapshot(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  const rows = await loadFlights(rig.source);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const sourcePid = rig.processes.get('source')?.pid as number;
  const sinkPid = rig.processes.get('sink')?.pid as number;
  const cpuBefore = { source: cpuSeconds(sourcePid), sink: cpuSeconds(sinkPid) };
  const started = performance.now();
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  const stages = await watchStages(rig, { sink: connectionId });
  await until(
    'the first copy',
    async () => {
      const { sourceReport } = await statusOf(rig, connectionId);
      const streams = sourceReport?.streams ?? [];
      return streams.length > 0 && streams.every((stream) => stream.phase === 'streaming');
    },
    600_000,
  );
  const captured = (performance.now() - started) / 1000;
  await sync(rig, connectionId, 600_000);
  const delivered = (performance.now() - started) / 1000;
  const columns = await columnsOf(rig.source, 'flights');
  const [there, here] = [
    await digest(rig.target, 'flights', columns),
    await digest(rig.source, 'flights', columns),
  ];
  const copied = await plainCopy(rig.source, 'flights', rows);
  return {
    rows,
    plainCopy: copied,
    equal: there.rows === here.rows && there.hash === here.hash,
    capturedSeconds: Math.round(captured * 10) / 10,
    capturedRowsPerSecond: Math.round(rows / captured),
    deliveredSeconds: Math.round(delivered * 10) / 10,
    deliveredRowsPerSecond: Math.round(rows / delivered),
    sourceCpuMicrosPerRow: micros(cpuSeconds(sourcePid) - cpuBefore.source, rows),
    sinkCpuMicrosPerRow: micros(cpuSeconds(sinkPid) - cpuBefore.sink, rows),
    sourcePeakMB: Math.round(peakMegabytes(sourcePid)),
    sinkPeakMB: Math.round(peakMegabytes(sinkPid)),
    stages: await stages(),
    load: loadAverage(),
  };
}

function micros(seconds: number, rows: number): number {
  return Math.round((seconds * 1e7) / rows) / 10;
}

/** By way of a CSV file that the server reads itself. */
async function loadFlights(source: LocalServer): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-flights-'));
  chmodSync(folder, 0o755);
  const csv = join(folder, 'flights.csv');
  const parquet = new URL(
    '../../node_modules/vega-datasets/data/flights-3m.parquet',
    import.meta.url,
  ).pathname;
  const database = await (await DuckDBInstance.create()).connect();
  await database.run(`copy (select * from read_parquet('${parquet}')) to '${csv}' (header)`);
  const shape = await database.runAndReadAll(
    `select string_agg('"' || column_name || '" ' || case column_type
       when 'TIMESTAMP' then 'timestamp' when 'DOUBLE' then 'double precision' when 'FLOAT' then 'real'
       when 'VARCHAR' then 'text' else 'bigint' end, ', ')
     from (describe select * from read_parquet('${parquet}'))`,
  );
  database.closeSync();
  chmodSync(csv, 0o644);
  const columns = shape.getRows()[0]?.[0] as string;
  await query(source, `create table flights (${columns})`);
  await query(source, `copy flights from '${csv}' (format csv, header)`);
  await query(source, 'alter table flights add id bigint generated always as identity primary key');
  rmSync(folder, { recursive: true });
  const [counted] = await query<{ n: number }>(source, 'select count(*)::int n from flights');
  return counted?.n ?? 0;
}
