import { mariadbContext } from '../../../support/contexts.ts';
import { firstCopySuite } from './first-copy-suite.ts';

firstCopySuite('MariaDB 11.8', mariadbContext);
