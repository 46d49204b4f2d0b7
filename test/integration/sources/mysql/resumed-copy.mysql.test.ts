import { mysqlContext } from '../../../support/contexts.ts';
import { MYSQL_TABLES, resumedCopySuite } from './resumed-copy-suite.ts';

resumedCopySuite('MySQL', mysqlContext, MYSQL_TABLES);

/** The log does not name columns, nor the members of an ENUM. */
const settings = { 'binlog-row-metadata': 'MINIMAL' };
const { unsigned_one, mixed } = MYSQL_TABLES;
resumedCopySuite('MySQL with MINIMAL', () => mysqlContext({ settings }), { unsigned_one, mixed });
