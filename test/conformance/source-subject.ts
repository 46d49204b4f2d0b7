import type { ErrorCode } from '../../core/errors/codes.ts';
import type { Source } from '../../connectors/spi/source.ts';
import type { ServerContext } from '../support/contexts.ts';

export type SqlRow = Readonly<Record<string, unknown>>;

export interface SqlSession {
  /** Runs one statement after the other; the rows of the last one, every cell a text or null. */
  run(...statements: string[]): Promise<SqlRow[]>;
  close(): Promise<void> | void;
}

/** A real server with the connector that reads it, as the conformance suite wants them. */
export interface SourceSubject {
  readonly server: ServerContext;
  readonly source: Source;
  /** Where the suite's tables are made. */
  readonly namespace: string;
  /** A table `zoo (id int PRIMARY KEY, ...)` with every type, and rows that hold their edges. */
  readonly zoo: {
    readonly table: readonly string[];
    rows(firstId: number): readonly string[];
  };
  /** What a lost log is refused with. */
  readonly lostLog: ErrorCode;
  /** A configuration of its own for each name, so that one test's reader holds nothing of another's. */
  config(name: string): Record<string, unknown>;
  session(): Promise<SqlSession>;
  /** Takes from the server what a reader of that configuration has not read yet. */
  loseLog(sql: SqlSession, config: Record<string, unknown>): Promise<void>;
}
