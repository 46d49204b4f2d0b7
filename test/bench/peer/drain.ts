import type { Rig } from '../../support/rig.ts';
import { writeBacklog } from '../backlog.ts';
import { recvlogical } from '../physical-limits.ts';
import { ApicurioStub } from './apicurio-stub.ts';
import {
  avroConverters,
  jsonConverters,
  PEER_PUBLICATION,
  peerTopic,
  type Properties,
} from './connector-settings.ts';
import { compared, conditions, contest, RUNS, times, type Side } from './contest.ts';
import { readySources, type CapturedSource } from './headrace-side.ts';
import {
  BASE_SLOT,
  copiedSlot,
  createBaseSlot,
  createPeerOrders,
  startPeerRig,
} from './servers.ts';
import { headraceSourceRun, peerSourceRun, removeTopic } from './source-runs.ts';

export const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 500_000);

/**
 * Changes that wait in a slot, to Kafka. Every run has a slot that begins before the first of them:
 * the peer's is a copy of one, Headrace's belongs to a source that stood ready before they were
 * written. All that a topic holds is counted in the topic.
 */
export async function drain(): Promise<Record<string, unknown>> {
  await using registry = new ApicurioStub();
  await using rig = await startPeerRig(['api', 'scheduler', 'source']);
  await createPeerOrders(rig);
  await createBaseSlot(rig);
  const sources = await readySources(rig, RUNS);
  await writeBacklog(rig.source, CHANGES);
  const avro = avroConverters(await registry.listen());
  const medians = await contest([
    {
      name: 'headrace',
      run: (run) => headraceSourceRun(rig, sources[run - 1] as CapturedSource, 'orders', CHANGES),
    },
    peer(rig, 'debezium_json', jsonConverters()),
    peer(rig, 'debezium_avro', avro),
  ]);
  const { headrace, debezium_json, debezium_avro } = medians;
  const limit = await recvlogical(rig.source, BASE_SLOT, PEER_PUBLICATION, CHANGES);
  return {
    changes: CHANGES,
    ...conditions(),
    medians,
    recvlogical: limit,
    overJson: compared(headrace, debezium_json, 3),
    overAvro: compared(headrace, debezium_avro, 5),
    overRecvlogical: limit === null ? null : times(headrace, { ...limit }, 'perSecond'),
  };
}

function peer(rig: Rig, name: string, converters: Properties): Side {
  return {
    name,
    run: async (run) => {
      const task = await copiedSlot(rig, `${name}_${run}`);
      const figures = await peerSourceRun(rig, { task, partitions: 1, converters }, CHANGES);
      await removeTopic(rig.kafka, peerTopic(task));
      return figures;
    },
  };
}
