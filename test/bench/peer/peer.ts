import { drain } from './drain.ts';
import { connectJars } from './jars.ts';
import { latency } from './latency.ts';
import { snapshot } from './snapshot.ts';
import { startup } from './startup.ts';
import { upsert } from './upsert.ts';

/** The same work by Debezium on Kafka Connect and by Headrace, in turn, on the same servers. */
const CONTESTS: Readonly<Record<string, () => Promise<Record<string, unknown>>>> = {
  drain,
  snapshot,
  upsert,
  latency,
  startup,
};

export async function peer(): Promise<Record<string, unknown>> {
  const name = process.argv[3] ?? '';
  const contest = CONTESTS[name];
  if (contest === undefined) {
    process.stderr.write(
      `usage: npm run bench -- peer ${Object.keys(CONTESTS).join(' | peer ')}\n`,
    );
    process.exit(2);
  }
  // Ahead of everything: a fetch must not fall into a run.
  await connectJars();
  return { contest: name, ...(await contest()) };
}
