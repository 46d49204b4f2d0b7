import { mariadbContext } from '../../../support/contexts.ts';
import { verifySuite } from './verify-suite.ts';

verifySuite('MariaDB 11.8', 'mariadb', mariadbContext);
