import { query } from '../../support/rig.ts';
import { insertOrders } from '../backlog.ts';
import { jsonConverters, peerTopic } from './connector-settings.ts';
import { compared, conditions, contest } from './contest.ts';
import { addSource, stopRole } from './headrace-side.ts';
import { createPeerOrders, startPeerRig } from './servers.ts';
import { headraceSourceRun, peerSourceRun, removeTopic } from './source-runs.ts';

const ROWS = Number(process.env['BENCH_ROWS'] ?? 1_000_000);

/** The first copy of a table, to Kafka: a new source, or connector, and a new slot in every run. */
export async function snapshot(): Promise<Record<string, unknown>> {
  await using rig = await startPeerRig(['api', 'scheduler', 'source']);
  await stopRole(rig, 'source');
  await createPeerOrders(rig);
  await query(rig.source, insertOrders(1, ROWS));
  await query(rig.source, 'vacuum analyze orders');
  const medians = await contest([
    {
      name: 'headrace',
      run: async (run) => headraceSourceRun(rig, await addSource(rig, `run${run}`), 'orders', ROWS),
    },
    {
      name: 'debezium_json',
      run: async (run) => {
        const slot = `debezium_json_${run}`;
        const task = { server: rig.source, table: 'orders', slot, snapshot: 'initial' } as const;
        const peer = { task, partitions: 1, converters: jsonConverters() };
        const figures = await peerSourceRun(rig, peer, ROWS);
        await removeTopic(rig.kafka, peerTopic(task));
        return figures;
      },
    },
  ]);
  return {
    rows: ROWS,
    ...conditions(),
    medians,
    overJson: compared(medians['headrace'], medians['debezium_json'], 4),
  };
}
