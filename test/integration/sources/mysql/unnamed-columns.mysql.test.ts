import { mysqlContext } from '../../../support/contexts.ts';
import { unnamedColumnsSuite } from './unnamed-columns-suite.ts';

unnamedColumnsSuite('MySQL', () =>
  mysqlContext({ settings: { 'binlog-row-metadata': 'MINIMAL' } }),
);
