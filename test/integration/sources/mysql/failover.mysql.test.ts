import { mysqlContext } from '../../../support/contexts.ts';
import { failoverSuite } from './failover-suite.ts';

failoverSuite('MySQL', 'mysql', mysqlContext);
