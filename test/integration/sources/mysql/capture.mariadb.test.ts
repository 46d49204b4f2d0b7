import { mariadbContext } from '../../../support/contexts.ts';
import { captureSuite } from './capture-suite.ts';

captureSuite('MariaDB 11.8', 'mariadb', mariadbContext);
captureSuite('MariaDB 10.11', 'mariadb', () => mariadbContext({ release: '10.11' }));
