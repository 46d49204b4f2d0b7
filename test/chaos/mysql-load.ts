import { parseArgs } from 'node:util';
import { mysqlLoad } from './mysql-load-run.ts';

/**
 * `node test/chaos/mysql-load.ts --seconds 120 --seed S --server mysql|mariadb`: eight writers, a first
 * copy under them, `kill -9` of the server, the source, the sink and the broker, then every row and every
 * change compared. The last line is one JSON object; exit 1 unless its counts of faults are zero.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    server: { type: 'string', default: 'mysql' },
  },
});
const result = await mysqlLoad({
  seconds: Number(values.seconds),
  seed: Number(values.seed),
  kind: values.server === 'mariadb' ? 'mariadb' : 'mysql',
  report: (line) => process.stdout.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(Object.values(result.faults).every((count) => count === 0) ? 0 : 1);
