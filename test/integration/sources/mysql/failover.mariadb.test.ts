import { mariadbContext } from '../../../support/contexts.ts';
import { failoverSuite } from './failover-suite.ts';

failoverSuite('MariaDB 11.8', 'mariadb', mariadbContext);
