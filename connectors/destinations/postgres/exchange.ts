import type { Client, Connection, Submittable } from 'pg';
import { preparedOn, type PreparedStatements } from './prepared-statements.ts';

/** One statement of an exchange; a Buffer parameter is sent in binary form, a string as text. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly (string | Buffer | null)[];
  /** The same text comes with every batch: worth keeping parsed and planned on the session. */
  readonly isRepeated?: boolean;
  /** Body of a `COPY ... FROM STDIN`, whole. */
  readonly copyData?: Buffer;
}

/** Rows of one statement, every value as text. */
export type Rows = (string | null)[][];

export interface StatementResult {
  readonly rows: Rows;
  /** Rows touched, from the command tag. */
  readonly count: number;
}

/** A server error with the number of the statement that met it. */
export interface ExchangeError extends Error {
  readonly code?: string;
  statementIndex?: number;
}

/**
 * Sends statements in one round trip: all are on the wire before the first answer, behind them one
 * Sync. After a failure the server ignores the rest up to the Sync, a COMMIT among them, so what
 * follows a failed statement never happens. `pg`'s own queue waits for every answer instead.
 * A connection that stays silent for `silenceMs` (0: for ever) is given up. `sent` is called when all
 * has left this process.
 */
export function exchange(
  client: Client,
  statements: readonly Statement[],
  silenceMs: number = MAX_SILENCE_MS,
  sent?: () => void,
): Promise<StatementResult[]> {
  return new Promise((resolve, reject) => {
    const watchdog = silenceMs > 0 ? setTimeout(() => cutOff(client), silenceMs) : undefined;
    const done = (error: Error | null, results: StatementResult[]) => {
      clearTimeout(watchdog);
      if (error === null) resolve(results);
      else reject(error);
    };
    client.query(new Exchange(statements, preparedOn(client), done, sent));
  });
}

/** The server ends its statements earlier; beyond this, nobody is there any more. */
const MAX_SILENCE_MS = 75_000;

/** Ends a connection whose other side has vanished; the statements then fail as on any lost one. */
function cutOff(client: Client): void {
  (client as unknown as { connection: Connection }).connection.stream.destroy();
}

const NOTHING = Buffer.alloc(0);

interface RawConnection extends Connection {
  readonly stream: Connection['stream'] & { cork(): void; uncork(): void };
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

class Exchange implements Submittable {
  private readonly statements: readonly Statement[];
  private readonly prepared: PreparedStatements | undefined;
  private readonly done: (error: Error | null, results: StatementResult[]) => void;
  private readonly sent: (() => void) | undefined;
  private readonly results: StatementResult[] = [];
  private rows: Rows = [];

  constructor(
    statements: readonly Statement[],
    prepared: PreparedStatements | undefined,
    done: (error: Error | null, results: StatementResult[]) => void,
    sent?: () => void,
  ) {
    this.statements = statements;
    this.prepared = prepared;
    this.done = done;
    this.sent = sent;
  }

  submit(connection: Connection): void {
    const raw = connection as RawConnection;
    raw.stream.cork();
    for (const statement of this.statements) {
      const { text } = statement;
      const known = statement.isRepeated === true ? this.prepared?.nameOf(text) : undefined;
      const name = known?.name ?? '';
      if (known?.isParsed !== true) raw.parse({ text, name, types: [] }, true);
      raw.bind({ statement: name, values: (statement.values ?? []) as never }, true);
      raw.execute({}, true);
      if (statement.copyData !== undefined) {
        raw.sendCopyFromChunk(statement.copyData);
        raw.endCopyFrom();
      }
    }
    raw.sync();
    raw.stream.uncork();
    const { sent } = this;
    if (sent === undefined) return;
    raw.stream.write(NOTHING, (error) => {
      if (error == null) sent();
    });
  }

  handleDataRow(message: { fields: (string | null)[] }): void {
    this.rows.push(message.fields);
  }

  handleCommandComplete(message: { text: string }): void {
    this.results.push({ rows: this.rows, count: Number(/\d+$/.exec(message.text)?.[0] ?? 0) });
    this.rows = [];
  }

  handleError(error: ExchangeError): void {
    error.statementIndex = this.results.length;
    this.prepared?.failed();
    this.done(error, this.results);
  }

  handleReadyForQuery(): void {
    this.prepared?.succeeded();
    this.done(null, this.results);
  }

  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  /** The data follows the statement at once; the server's invitation needs no answer. */
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}
