import { postgresSubject } from './postgres-subject.ts';
import { sourceSuite } from './source-suite.ts';

sourceSuite('PostgreSQL', postgresSubject);
