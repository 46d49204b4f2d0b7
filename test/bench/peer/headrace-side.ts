import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  statusOf,
  until,
  type Rig,
  type Role,
} from '../../support/rig.ts';

export interface CapturedSource {
  readonly name: string;
  readonly sourceId: string;
  readonly connectionId: string;
}

/** A source with a slot of its own and a connection of it; its topics are named by it. */
export async function addSource(rig: Rig, name: string): Promise<CapturedSource> {
  const config = {
    ...cdcSourceConfig(rig.source),
    replication_method: {
      method: 'CDC',
      replication_slot: `headrace_${name}`,
      publication: `headrace_${name}`,
      create: true,
    },
  };
  const sourceId = await createSource(rig, config, 'sourcePostgres', name);
  return { name, sourceId, connectionId: await addConnection(rig, sourceId, name) };
}

/** Sources that stand ready, each at the present end of the log, while the process of all is down. */
export async function readySources(rig: Rig, count: number): Promise<CapturedSource[]> {
  const sources: CapturedSource[] = [];
  for (let number = 1; number <= count; number++) {
    const source = await addSource(rig, `run${number}`);
    await untilStreaming(rig, source.connectionId);
    await setActive(rig, source.connectionId, false);
    sources.push(source);
  }
  await stopRole(rig, 'source');
  return sources;
}

/** To deduped tables in a schema of the target. */
export async function addConnection(rig: Rig, sourceId: string, schema: string): Promise<string> {
  const destination = { ...postgresConfig(rig.target), schema };
  const destinationId = await createDestination(rig, 'postgres', destination);
  return createConnection(rig, sourceId, destinationId, () => 'append_dedup');
}

export const headraceTopic = (source: string, table: string): string =>
  `headrace.${source}.public.${table}`;

export async function setActive(rig: Rig, connectionId: string, active: boolean): Promise<void> {
  const status = active ? 'active' : 'inactive';
  await rig.api.quiet('connections/update', { connectionId, status });
}

export async function untilStreaming(rig: Rig, connectionId: string): Promise<void> {
  await until('a source that follows the log', async () => {
    const { sourceReport } = await statusOf(rig, connectionId);
    const streams = sourceReport?.streams ?? [];
    return streams.length > 0 && streams.every(({ phase }) => phase === 'streaming');
  });
}

/** Ends a role's process and forgets it, so that none of its figures are asked for any more. */
export async function stopRole(rig: Rig, role: Role): Promise<void> {
  await rig.processes.get(role)?.stop();
  rig.processes.delete(role);
}

export function pidsOf(rig: Rig): number[] {
  return [...rig.processes.values()].map(({ pid }) => pid);
}
