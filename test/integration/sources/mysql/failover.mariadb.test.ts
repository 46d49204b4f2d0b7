import { mariadbContext } from '../../../support/contexts.ts';
import { failoverSuite } from './failover-suite.ts';

failoverSuite('MariaDB 11.8', 'mariadb', mariadbContext);
failoverSuite('MariaDB 10.11', 'mariadb', () => mariadbContext({ release: '10.11' }));
