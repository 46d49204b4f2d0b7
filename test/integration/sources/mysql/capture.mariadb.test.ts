import { mariadbContext } from '../../../support/contexts.ts';
import { captureSuite } from './capture-suite.ts';

captureSuite('mariadb', mariadbContext);
