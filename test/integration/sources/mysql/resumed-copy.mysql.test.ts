import { mysqlContext } from '../../../support/contexts.ts';
import { resumedCopySuite } from './resumed-copy-suite.ts';

resumedCopySuite('MySQL', mysqlContext);
