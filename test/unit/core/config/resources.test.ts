import { describe, expect, it } from 'vitest';
import { cpuCores, memoryBytes } from '../../../../core/config/quantity.ts';
import { loadResources } from '../../../../core/config/resources.ts';

const MIB = 2 ** 20;
const file = (text: string) => ({ path: 'config/airbyte/config.yaml', text });

describe('amounts', () => {
  it.each([
    ['256Mi', 256 * MIB],
    ['1Gi', 1024 * MIB],
    ['1.5G', 1_500_000_000],
    ['1048576', MIB],
    ['100k', 100_000],
  ])('%s of memory', (text, bytes) => expect(memoryBytes(text)).toBe(bytes));

  it.each([
    ['0.25', 0.25],
    ['1.0', 1],
    ['250m', 0.25],
    ['2', 2],
  ])('%s of processors', (text, cores) => expect(cpuCores(text)).toBe(cores));

  it.each(['', '1 Gi', '1gi', '-1', '1GiB', '0', 'lots', '1e9', 'Mi'])('not "%s"', (text) => {
    expect(memoryBytes(text)).toBeNull();
    expect(cpuCores(text)).toBeNull();
  });
});

describe('resources', () => {
  const guide = `
resources:
  source: { cpu_limit: "1.0", memory_limit: "1Gi", cpu_request: "0.25", memory_request: "256Mi" }
  destination: { cpu_limit: "1.0", memory_limit: "1Gi", cpu_request: "0.25", memory_request: "256Mi" }
  orchestrator: { cpu_limit: "0.5", memory_limit: "512Mi" }
`;

  it("are those of Airbyte's file", () => {
    const read = loadResources({}, file(guide));
    expect(read.source).toEqual({
      cpu_request: 0.25,
      cpu_limit: 1,
      memory_request: 256 * MIB,
      memory_limit: 1024 * MIB,
    });
    expect(read.orchestrator).toEqual({ cpu_limit: 0.5, memory_limit: 512 * MIB });
    expect(loadResources({}, null).source).toEqual({});
  });

  it('of the environment go before the file, for the connectors alone', () => {
    const env = {
      JOB_MAIN_CONTAINER_MEMORY_LIMIT: '2Gi',
      JOB_MAIN_CONTAINER_MEMORY_REQUEST: '1Gi',
      JOB_MAIN_CONTAINER_CPU_LIMIT: '',
    };
    const read = loadResources(env, file(guide));
    expect(read.destination).toMatchObject({ memory_limit: 2048 * MIB, cpu_limit: 1 });
    expect(read.orchestrator.memory_limit).toBe(512 * MIB);
  });

  it('that make no sense are all named, with their place', () => {
    const bad = `
resources:
  source: { memory_limit: 1GB, memory_request: 256Mi, cpu_limit: [1] }
  destination: { memory_limit: 256Mi, memory_request: 1Gi, cpu_limt: "1" }
  worker: {}
`;
    expect(messageOf(() => loadResources({}, file(bad))).split('\n')).toEqual([
      'config/airbyte/config.yaml: resources.worker is not known; did you mean source?',
      'config/airbyte/config.yaml: resources.destination.cpu_limt is not known; did you mean cpu_limit?',
      'config/airbyte/config.yaml: resources.source.cpu_limit is "{}", which is not 0.25, 1 or 250m',
      'config/airbyte/config.yaml: resources.source.memory_limit is "1GB", which is not 512Mi, 1Gi or bytes',
      'config/airbyte/config.yaml: resources.destination.memory_request is "1Gi", more than ' +
        'config/airbyte/config.yaml: resources.destination.memory_limit, "256Mi"',
    ]);
    const env = { JOB_MAIN_CONTAINER_MEMORY_LIMIT: '2 GB' };
    expect(messageOf(() => loadResources(env, null))).toBe(
      'JOB_MAIN_CONTAINER_MEMORY_LIMIT is "2 GB", which is not 512Mi, 1Gi or bytes',
    );
    expect(messageOf(() => loadResources({}, file('a: ]')))).toContain('it is not YAML');
  });
});

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  return 'nothing was thrown';
}
