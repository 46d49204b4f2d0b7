import { setTimeout as delay } from 'node:timers/promises';
import type { DestinationTable, DestinationView } from '../../connectors/spi/comparison.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { NamedStream, SourceReport } from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';

const POLL_MS = 50;

export interface CatchUpOptions {
  readonly stream: NamedStream;
  readonly topic: string;
  readonly patienceMs: number;
  sourceReport(): Promise<TimedReport<SourceReport> | null>;
  /** By `topic:partition`, the ends of a topic now. */
  endOffsets(topics: readonly string[]): Promise<Map<string, number>>;
}

/** Waits until what a source has committed has come all the way. Throws VFY_NOT_REACHED. */
export class CatchUp {
  private readonly options: CatchUpOptions;
  private known: { readonly position: string; readonly ends: Map<number, number> } | null = null;

  constructor(options: CatchUpOptions) {
    this.options = options;
  }

  /** Where the topic's partitions end when everything up to the position is in them. */
  async ends(position: string): Promise<Map<number, number>> {
    if (this.known?.position === position) return this.known.ends;
    await this.captured(position);
    const { topic } = this.options;
    const all = await this.options.endOffsets([topic]);
    const ends = new Map(
      [...all].map(([name, end]) => [Number(name.slice(topic.length + 1)), end] as const),
    );
    this.known = { position, ends };
    return ends;
  }

  /** Looks at the destination as soon as it holds everything up to the position. */
  async look<T>(
    table: DestinationTable,
    position: string,
    since: string,
    work: (view: DestinationView) => Promise<T>,
  ): Promise<T> {
    const ends = await this.ends(position);
    const deadline = Date.now() + this.options.patienceMs;
    for (;;) {
      const result = await table.look(since, async (view) => {
        const isThere = [...ends].every(([p, end]) => (view.offsets.get(p) ?? 0) >= end);
        return isThere ? { value: await work(view) } : null;
      });
      if (result !== null) return result.value;
      if (Date.now() > deadline) throw this.late('the destination has not taken all records yet');
      await delay(POLL_MS);
    }
  }

  private async captured(position: string): Promise<void> {
    const { stream, patienceMs } = this.options;
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const report = (await this.options.sourceReport())?.report;
      const own = report?.streams.find(
        (each) => each.name === stream.name && each.namespace === stream.namespace,
      );
      if (own?.phase === 'stopped') throw this.late(`it is stopped: ${own.error?.code ?? ''}`);
      if (own?.phase === 'streaming' && (report?.capturedThrough ?? '') >= position) return;
      if (Date.now() > deadline) throw this.late('the source has not read its log so far');
      await delay(POLL_MS);
    }
  }

  private late(why: string): PipelineError {
    const label = streamLabel(this.options.stream);
    return new PipelineError('VFY_NOT_REACHED', `stream ${label}: ${why}`, {
      details: { stream: label },
    });
  }
}
