import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { appendedRows } from '../../../connectors/destinations/postgres/appended-rows.ts';
import { withColumns } from '../../../connectors/destinations/s3/file-columns.ts';
import { packChunk } from '../../../connectors/destinations/s3/record-run.ts';
import { SpoolBuilder } from '../../../connectors/destinations/s3/spool-builder.ts';
import { ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import { parseBatches } from '../../../topics/consume/record-batches.ts';
import { cutBatches, writeBatch } from '../../../topics/produce/record-batch.ts';
import { ByteWriter } from '../../../topics/wire/bytes.ts';
import { stageCost, type StageCost } from './calibrated-cost.ts';
import { loggedRows, LoggedSide } from './mysql-fixture.ts';
import {
  appendedTable,
  CHANGES,
  EncodingSide,
  FILE_COLUMNS,
  insertMessages,
  TARGET,
} from './stage-fixture.ts';

/**
 * A guard, not a measurement: what an event costs in each pure stage beside a calibration loop of the
 * same run, so that it holds on every machine. The limits are three to five times what was measured; a stage
 * that begins to make an object or a string per row is far beyond them.
 */
const EVENTS = 1_000;
/** The rounds take CPU, which a busy machine gives late. */
const PATIENCE_MS = 120_000;
const messages = insertMessages(EVENTS);
const side = new EncodingSide();
const PRODUCER = { producerId: 1, epoch: 1, sequence: 0, transactional: true };
const folder = mkdtempSync(join(tmpdir(), 'headrace-stages-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function batchOf(out: ByteWriter, arena: Parameters<typeof cutBatches>[0]): Buffer {
  out.pos = 0;
  for (const cut of cutBatches(arena, 1 << 30, () => {})) writeBatch(out, cut, PRODUCER, 1);
  return out.view();
}

describe('the cost of an event', { timeout: PATIENCE_MS }, () => {
  test('from the wire of the replication protocol to Avro', () => {
    const limit = { cpu: 4, heapBytes: 1_100 };
    const cost = stageCost(EVENTS, limit, () => side.outbox.recycle(side.encode(messages)));
    expectBelow(cost, limit);
  });

  test("from a row event of MySQL's log to Avro", async () => {
    const limit = { cpu: 3, heapBytes: 400 };
    const logged = await LoggedSide.open();
    const event = loggedRows(EVENTS);
    expect(logged.encode(event)).toBe(EVENTS);
    const cost = stageCost(EVENTS, limit, () => void logged.encode(event));
    expectBelow(cost, limit);
  });

  test('from Avro records to a record batch', () => {
    const limit = { cpu: 0.6, heapBytes: 40 };
    const [part] = side.encode(messages);
    const out = new ByteWriter();
    const cost = stageCost(EVENTS, limit, () => void batchOf(out, part!.arena));
    expectBelow(cost, limit);
  });

  test('from a fetched batch to cells', async () => {
    const limit = { cpu: 1.7, heapBytes: 1_000 };
    const { records } = await fetched();
    const change = new ChangeCursor();
    const cost = stageCost(EVENTS, limit, () => {
      for (let i = 0; i < records.count; i++) {
        change.decode(CHANGES, records.bytes, records.valueStarts[i]!, records.valueEnds[i]!);
      }
    });
    expectBelow(cost, limit);
  });

  test('from a fetched batch to the body of a COPY', async () => {
    const limit = { cpu: 4.5, heapBytes: 1_300 };
    const { records } = await fetched();
    const table = appendedTable();
    const batch = { target: TARGET, firstOffset: 0, nextOffset: EVENTS, records };
    const options = { softDeletes: false, emittedAtMs: 1 };
    const cost = stageCost(EVENTS, limit, () => {
      const slices = [{ batch, from: 0, to: EVENTS }];
      expect(appendedRows(table, slices, options).statements[0]?.copyData).toBeDefined();
    });
    expectBelow(cost, limit);
  });

  test('from a fetched batch to the columns of a Parquet file', async () => {
    const limit = { cpu: 6, heapBytes: 4_000 };
    const { records } = await fetched();
    const layout = {
      columns: withColumns([], FILE_COLUMNS),
      codec: 'UNCOMPRESSED',
      pageBytes: 1024 * 1024,
      rowGroupRows: EVENTS,
      rowGroupBytes: 64 * 1024 * 1024,
      partitionBy: 'none',
    } as const;
    let id = 0;
    const cost = stageCost(EVENTS, limit, () => {
      const spec = { id: ++id, path: join(folder, 'spool'), idHash: '0'.repeat(64), layout };
      const spool = new SpoolBuilder(spec, new Map([[CHANGES.id, CHANGES]]));
      spool.add(packChunk(records, 0, EVENTS)!);
      expect(spool.finish()[0]?.rows).toBe(EVENTS);
    });
    expectBelow(cost, limit);
  });
});

function expectBelow(cost: StageCost, limit: StageCost): void {
  expect(cost.cpu).toBeLessThan(limit.cpu);
  expect(cost.heapBytes).toBeLessThan(limit.heapBytes);
}

async function fetched() {
  const [part] = side.encode(messages);
  const bytes = Buffer.from(batchOf(new ByteWriter(), part!.arena));
  return parseBatches(bytes, 0, []);
}
