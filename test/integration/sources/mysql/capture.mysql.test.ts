import { mysqlContext } from '../../../support/contexts.ts';
import { captureSuite } from './capture-suite.ts';

captureSuite('MySQL', 'mysql', mysqlContext);
