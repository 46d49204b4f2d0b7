import { mariadbContext } from '../../../support/contexts.ts';
import { keyChunksSuite } from './key-chunks-suite.ts';

keyChunksSuite('MariaDB', 'mariadb', mariadbContext);
