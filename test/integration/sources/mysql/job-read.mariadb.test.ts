import { mariadbContext } from '../../../support/contexts.ts';
import { jobReadSuite } from './job-read-suite.ts';

jobReadSuite('MariaDB', 'mariadb', mariadbContext);
