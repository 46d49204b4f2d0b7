import { mariadbContext } from '../../../support/contexts.ts';
import { firstCopySuite, ONE_PHASE } from './first-copy-suite.ts';

// Whether MariaDB's consistent snapshot has an XA COMMIT of the same moment is not known (docs/mysql.md).
firstCopySuite('MariaDB 11.8', mariadbContext, [ONE_PHASE]);
