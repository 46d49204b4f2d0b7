import { mysqlContext } from '../../../support/contexts.ts';
import { jobReadSuite } from './job-read-suite.ts';

jobReadSuite('MySQL', 'mysql', mysqlContext);
