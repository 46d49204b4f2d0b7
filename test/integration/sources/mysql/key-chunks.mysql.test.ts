import { mysqlContext } from '../../../support/contexts.ts';
import { keyChunksSuite } from './key-chunks-suite.ts';

keyChunksSuite('MySQL', 'mysql', mysqlContext);
