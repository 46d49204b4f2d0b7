import { mysqlContext } from '../../../support/contexts.ts';
import { verifySuite } from './verify-suite.ts';

verifySuite('MySQL 9', 'mysql', mysqlContext);
