/**
 * Equal questions at the same time are asked once. One that comes while the same one is being
 * answered waits for the next answer, together with all that come until that begins: no answer is
 * made of what was read before its question came, and twenty dashboards cost as much as two.
 */
export class SharedReads {
  private readonly running = new Map<string, Promise<Buffer>>();
  private readonly next = new Map<string, Promise<Buffer>>();

  /** The answer as bytes, made once for all who share it, out of JSON text. `question` names what is
   * asked. */
  read(question: string, answer: () => Promise<string>): Promise<Buffer> {
    const running = this.running.get(question);
    if (running === undefined) return this.start(question, answer);
    const waiting = this.next.get(question);
    if (waiting !== undefined) return waiting;
    const next = running
      // Whoever asked first hears of its failure; the next ones try for themselves.
      .catch(() => undefined)
      .then(() => {
        this.next.delete(question);
        return this.start(question, answer);
      });
    this.next.set(question, next);
    return next;
  }

  private start(question: string, answer: () => Promise<string>): Promise<Buffer> {
    const running = answer()
      .then((text) => Buffer.from(text))
      .finally(() => this.running.delete(question));
    this.running.set(question, running);
    return running;
  }
}
