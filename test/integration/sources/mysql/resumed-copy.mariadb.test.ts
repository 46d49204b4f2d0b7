import { mariadbContext } from '../../../support/contexts.ts';
import { resumedCopySuite } from './resumed-copy-suite.ts';

resumedCopySuite('MariaDB 11.8', mariadbContext);
