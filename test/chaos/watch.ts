import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { KafkaClient } from '../../topics/kafka-client.ts';
import { connectTo, type Rig } from '../support/rig.ts';
import type { InjectedFault } from './fleet.ts';

interface Sighting {
  readonly seenAt: number;
  readonly writtenAt: number;
}

export interface WatchFigures {
  /** Samples in which the slot stood beyond what Kafka held (invariant 1 broken). */
  acknowledgedTooEarly: number;
  acknowledgementSamples: number;
  /** Samples in which the target's row was older than before (invariant 4 broken). */
  wentBack: number;
  samples: number;
}

/** Looks on while faults happen: the pulse row in the target, and what the source may forget. */
export class Watch {
  readonly figures: WatchFigures = {
    acknowledgedTooEarly: 0,
    acknowledgementSamples: 0,
    wentBack: 0,
    samples: 0,
  };
  private readonly rig: Rig;
  private readonly sourceId: string;
  private readonly hasSlot: boolean;
  private readonly table: string;
  private readonly counters: string;
  private readonly seen: Sighting[] = [];
  private readonly running: Promise<void>[] = [];
  private ended = false;

  /** `table` has the row that tells the time, `counters` rows of which each only grows. */
  constructor(
    rig: Rig,
    { sourceId, hasSlot }: { readonly sourceId: string; readonly hasSlot: boolean },
    table: string,
    counters: string,
  ) {
    this.rig = rig;
    this.sourceId = sourceId;
    this.hasSlot = hasSlot;
    this.table = table;
    this.counters = counters;
  }

  start(): void {
    this.running.push(this.watchPulse());
    if (this.hasSlot) this.running.push(this.watchAcknowledgements());
  }

  async end(): Promise<void> {
    this.ended = true;
    await Promise.all(this.running);
  }

  /** Milliseconds from a fault until what was written after it was in the target; null: never. */
  recoveryMs(fault: InjectedFault): number | null {
    const first = this.seen.find(({ writtenAt }) => writtenAt > fault.countsFrom);
    return first === undefined ? null : Math.max(0, first.seenAt - fault.countsFrom);
  }

  private async watchPulse(): Promise<void> {
    let last = -1;
    let lastSum = -1;
    await this.sampling(50, 'target', async (client) => {
      const { rows } = await client.query<{ v: string; at_ms: string; sum: string | null }>(
        `select v, at_ms, (select sum(v) from ${this.counters}) as sum from ${this.table}`,
      );
      const [row] = rows;
      if (row === undefined) return;
      this.figures.samples++;
      if (Number(row.v) < last || Number(row.sum) < lastSum) this.figures.wentBack++;
      lastSum = Number(row.sum);
      if (Number(row.v) > last) {
        this.seen.push({ seenAt: Date.now(), writtenAt: Number(row.at_ms) });
      }
      last = Number(row.v);
    });
  }

  /** The slot first, Kafka's position after it: what is confirmed must have been there before. */
  private async watchAcknowledgements(): Promise<void> {
    const kafka = new KafkaClient({
      kafka: { brokers: [`127.0.0.1:${this.rig.kafka.port}`], tls: null, sasl: null },
      topicPrefix: 'headrace',
      schemaRegistryUrl: null,
    });
    await this.sampling(1_000, 'source', async (client) => {
      const { rows } = await client.query<{ confirmed: string | null }>(
        `select lpad(to_hex((confirmed_flush_lsn - '0/0')::bigint), 16, '0') as confirmed
         from pg_replication_slots where slot_name = 'headrace'`,
      );
      const confirmed = rows[0]?.confirmed?.toUpperCase();
      if (confirmed === undefined) return;
      const state = await kafka.positions.read(this.sourceId);
      if (state === null) return;
      this.figures.acknowledgementSamples++;
      if (confirmed > state.position) this.figures.acknowledgedTooEarly++;
    });
    await kafka.close();
  }

  private async sampling(
    everyMs: number,
    server: 'source' | 'target',
    sample: (client: pg.Client) => Promise<void>,
  ): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.ended) {
      try {
        client ??= await connectTo(this.rig[server]);
        await sample(client);
      } catch {
        await client?.end().catch(() => undefined);
        client = null;
      }
      await delay(everyMs);
    }
    await client?.end().catch(() => undefined);
  }
}
