import { mariadbContext } from '../../../support/contexts.ts';
import { firstCopySuite, ONE_PHASE, TWO_PHASES } from './first-copy-suite.ts';

firstCopySuite('MariaDB 11.8', mariadbContext, [ONE_PHASE, TWO_PHASES]);
