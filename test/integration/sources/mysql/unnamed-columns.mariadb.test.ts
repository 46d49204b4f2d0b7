import { mariadbContext } from '../../../support/contexts.ts';
import { unnamedColumnsSuite } from './unnamed-columns-suite.ts';

unnamedColumnsSuite('MariaDB 11.8', () =>
  mariadbContext({ settings: { 'binlog-row-metadata': 'NO_LOG' } }),
);
