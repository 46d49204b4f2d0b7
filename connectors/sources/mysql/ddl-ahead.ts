import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import * as binlog from './binlog-events.ts';
import { BinlogSession } from './binlog-session.ts';
import type { MysqlSourceConfig } from './config.ts';
import { LogPlace } from './log-place.ts';
import { fileName } from './position.ts';
import { connect } from './session.ts';
import { bareStatement, mayChangeShape } from './statements.ts';

const SILENCE_MS = 15_000;

interface LoggedStatement {
  readonly place: bigint;
  readonly database: string;
  readonly text: string;
}

/** Looks ahead in the log for statements that change tables, and remembers how far it looked. */
export class DdlAhead {
  private readonly parts: {
    readonly config: MysqlSourceConfig;
    readonly checksums: boolean;
    readonly sourceId: string;
    readonly base: string;
  };
  private statements: LoggedStatement[] = [];
  private from = 0n;
  private to = 0n;

  constructor(parts: DdlAhead['parts']) {
    this.parts = parts;
  }

  /** Whether a statement between two places, of which the first begins a transaction, may have changed
   * the table. */
  async changes(stream: StreamId, from: bigint, to: bigint): Promise<boolean> {
    if (this.to === 0n || from < this.from || from > this.to) {
      this.statements = [];
      this.from = from;
      this.to = from;
    }
    if (this.to < to) await this.look(to);
    return this.statements.some(
      ({ place, database, text }) => place > from && mayChangeShape(text, database, stream),
    );
  }

  private async look(to: bigint): Promise<void> {
    const { config, base, sourceId } = this.parts;
    const connection = await connect(config);
    let end: (error: PipelineError | null) => void = () => {};
    const reader = new StatementReader(this.parts.checksums, this.to, to, this.statements);
    const session = new BinlogSession(
      connection,
      {
        event: (bytes, start, stop) => reader.event(bytes, start, stop),
        more: () => false,
        chunkDone: () => {
          if (reader.done) end(null);
        },
        failed: (error) => end(error),
      },
      SILENCE_MS,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        end = (error) => (error === null ? resolve() : reject(error));
        session
          .start(`${sourceId}:ahead`, fileName(base, this.to), Number(this.to & 0xffffffffn))
          .catch((error: unknown) => end(toPipelineError(error)));
      });
      this.to = to;
    } finally {
      session.close();
    }
  }
}

class StatementReader {
  done = false;
  private readonly header = binlog.emptyHeader();
  private readonly place = new LogPlace();
  private readonly statements: LoggedStatement[];
  private readonly from: bigint;
  private readonly to: bigint;
  private checksums: boolean;

  constructor(checksums: boolean, from: bigint, to: bigint, statements: LoggedStatement[]) {
    this.checksums = checksums;
    this.from = from;
    this.to = to;
    this.statements = statements;
  }

  event(bytes: Buffer, start: number, end: number): void {
    if (this.done) return;
    const { header, place } = this;
    binlog.readHeader(bytes, start, header);
    const { type } = header;
    if (type === binlog.FORMAT_DESCRIPTION) this.checksums = bytes[end - 5] === 1;
    const stop = binlog.verifiedEnd(bytes, start, end, this.checksums);
    const body = start + binlog.HEADER_BYTES;
    place.moved(header, bytes, body, stop);
    if (type === binlog.QUERY || type === binlog.QUERY_COMPRESSED) {
      const { database, text } = binlog.readQuery(bytes, body, stop, type);
      const statement = bareStatement(text);
      // A statement at the place itself ended before it.
      if (place.end > this.from && mayChangeShape(statement, null, null)) {
        this.statements.push({ place: place.end, database, text: statement });
      }
    }
    if (place.known && place.end >= this.to) this.done = true;
  }
}
