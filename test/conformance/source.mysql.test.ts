import { mysqlContext } from '../support/contexts.ts';
import { mysqlSubject } from './mysql-subject.ts';
import { sourceSuite } from './source-suite.ts';

sourceSuite('MySQL', () => mysqlSubject('mysql', mysqlContext));
// As MySQL is by default: the log does not name the columns.
sourceSuite('MySQL with binlog_row_metadata = MINIMAL', () =>
  mysqlSubject('mysql', () => mysqlContext({ settings: { 'binlog-row-metadata': 'MINIMAL' } })),
);
