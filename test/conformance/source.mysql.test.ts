import { mysqlContext } from '../support/contexts.ts';
import { mysqlSubject } from './mysql-subject.ts';
import { sourceSuite } from './source-suite.ts';

sourceSuite('MySQL', () => mysqlSubject('mysql', mysqlContext));
