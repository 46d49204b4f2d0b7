import { append, parquet, upsert } from './deliver.ts';
import { api } from './api.ts';
import { drain } from './drain.ts';
import { lake } from './lake.ts';
import { impact } from './impact.ts';
import { latency } from './latency.ts';
import { many } from './many.ts';
import { mysqlParser } from './mysql-parser.ts';
import { path } from './path.ts';
import { peer } from './peer/peer.ts';
import { rebuild } from './rebuild.ts';
import { snapshot } from './snapshot.ts';
import { startup } from './startup.ts';
import { sustained } from './sustained.ts';
import { topics } from './topics.ts';
import { verify } from './verify.ts';

/** `npm run bench -- <name>`: measurements on real servers. The last line is one JSON object. */
const BENCHES: Readonly<Record<string, () => Promise<Record<string, unknown>>>> = {
  api,
  latency,
  drain,
  upsert,
  append,
  parquet,
  snapshot,
  'mysql-parser': mysqlParser,
  topics,
  verify,
  lake,
  rebuild,
  startup,
  sustained,
  impact,
  many,
  path,
  peer,
};

const name = process.argv[2] ?? '';
const bench = BENCHES[name];
if (bench === undefined) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')}\n`);
  process.exit(2);
}
// The servers and instances are ended by what runs at an exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const figures = await bench();
process.stdout.write(`${JSON.stringify({ bench: name, ...figures })}\n`);
