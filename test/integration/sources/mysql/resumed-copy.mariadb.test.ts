import { mariadbContext } from '../../../support/contexts.ts';
import { MARIADB_TABLES, resumedCopySuite } from './resumed-copy-suite.ts';

resumedCopySuite('MariaDB 11.8', mariadbContext, MARIADB_TABLES);

/** The log does not name columns, nor the members of an ENUM. */
const settings = { 'binlog-row-metadata': 'NO_LOG' };
const { unsigned_one, mixed } = MARIADB_TABLES;
resumedCopySuite('MariaDB with NO_LOG', () => mariadbContext({ settings }), {
  unsigned_one,
  mixed,
});
