import { mariadbContext } from '../support/contexts.ts';
import { mysqlSubject } from './mysql-subject.ts';
import { sourceSuite } from './source-suite.ts';

sourceSuite('MariaDB 11.8', () => mysqlSubject('mariadb', mariadbContext));
sourceSuite('MariaDB 10.11', () =>
  mysqlSubject('mariadb', () => mariadbContext({ release: '10.11' })),
);
