import { pino, type DestinationStream } from 'pino';

/** Enough to see what went before an error; a line is some hundred bytes. */
const LINES = 2000;

/** Standard output, and the last lines of it: for those who have the API and not the machine. */
export class LogTail implements DestinationStream {
  private readonly output: DestinationStream;
  private readonly lines: string[] = [];

  constructor(output: DestinationStream = pino.destination(1)) {
    this.output = output;
  }

  write(line: string): void {
    this.output.write(line);
    this.lines.push(line);
    if (this.lines.length > LINES * 2) this.lines.splice(0, LINES);
  }

  /** The last lines, oldest first, each with its line end; those of one role when it is named. */
  text(role: string | null): string {
    const mark = `"role":"${role}"`;
    const asked = role === null ? this.lines : this.lines.filter((line) => line.includes(mark));
    return asked.slice(-LINES).join('');
  }
}
