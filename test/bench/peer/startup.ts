import { query } from '../../support/rig.ts';
import { insertOrders } from '../backlog.ts';
import { jsonConverters, peerTopic } from './connector-settings.ts';
import { conditions, contest, RUNS, times } from './contest.ts';
import { readySources, type CapturedSource } from './headrace-side.ts';
import { copiedSlot, createBaseSlot, createPeerOrders, startPeerRig } from './servers.ts';
import { headraceSourceRun, peerSourceRun, removeTopic } from './source-runs.ts';

/** One change waits in a slot: from the start of a source's process until it is in the topic. The
 * peer has no stored offsets, which makes its start the shorter one. */
export async function startup(): Promise<Record<string, unknown>> {
  await using rig = await startPeerRig(['api', 'scheduler', 'source']);
  await createPeerOrders(rig);
  await createBaseSlot(rig);
  const sources = await readySources(rig, RUNS);
  await query(rig.source, insertOrders(1, 1));
  const { headrace, debezium } = await contest([
    {
      name: 'headrace',
      run: (run) => headraceSourceRun(rig, sources[run - 1] as CapturedSource, 'orders', 1),
    },
    {
      name: 'debezium',
      run: async (run) => {
        const task = await copiedSlot(rig, `debezium_${run}`);
        const peer = { task, partitions: 1, converters: jsonConverters() };
        const figures = await peerSourceRun(rig, peer, 1);
        await removeTopic(rig.kafka, peerTopic(task));
        return figures;
      },
    },
  ]);
  return {
    ...conditions(),
    medians: { headrace, debezium },
    sooner: times(debezium, headrace, 'firstRecordSeconds'),
    systemCpu: times(debezium, headrace, 'systemCpuSeconds'),
    allCpu: times(debezium, headrace, 'allCpuSeconds'),
  };
}
