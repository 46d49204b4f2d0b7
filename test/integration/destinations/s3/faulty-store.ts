import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';

export type Step = 'claim' | 'file' | 'head' | 'copy' | 'delete';
/** before: the request is never sent. after: it has worked and its answer is lost. */
export type Moment = 'before' | 'after';

/**
 * A store between a writer and the real one that a test cuts off at a chosen moment: from then on
 * nothing that the writer asks for happens, as when its process is gone.
 */
export class FaultyStore implements ObjectStore {
  dead = false;
  private readonly store: ObjectStore;
  private readonly fails: (step: Step, moment: Moment) => boolean;

  /** `fails` decides at each moment whether this is where it ends. */
  constructor(store: ObjectStore, fails: (step: Step, moment: Moment) => boolean) {
    this.store = store;
    this.fails = fails;
  }

  private async at<T>(step: Step, act: () => Promise<T>): Promise<T> {
    this.check(step, 'before');
    const result = await act();
    this.check(step, 'after');
    return result;
  }

  private check(step: Step, moment: Moment): void {
    if (this.dead || this.fails(step, moment)) {
      this.dead = true;
      throw new PipelineError('DST_UNAVAILABLE', `cut off ${moment} ${step}`);
    }
  }

  private alive(): ObjectStore {
    if (this.dead) throw new PipelineError('DST_UNAVAILABLE', 'cut off');
    return this.store;
  }

  putIfAbsent(key: string, body: string): Promise<boolean> {
    return this.at('claim', () => this.store.putIfAbsent(key, body));
  }

  put(key: string, body: string): Promise<void> {
    return this.at('head', () => this.store.put(key, body));
  }

  uploadIfAbsent(...args: Parameters<ObjectStore['uploadIfAbsent']>): Promise<boolean> {
    return this.at('file', () => this.store.uploadIfAbsent(...args));
  }

  async bucketExists(): Promise<void> {
    await this.alive().bucketExists();
  }

  async get(key: string): Promise<string | null> {
    return await this.alive().get(key);
  }

  async head(key: string): Promise<Record<string, string> | null> {
    return await this.alive().head(key);
  }

  list(prefix: string, after?: string): AsyncIterable<string> {
    return this.alive().list(prefix, after);
  }

  objects(prefix: string): ReturnType<ObjectStore['objects']> {
    return this.alive().objects(prefix);
  }

  delete(key: string): Promise<void> {
    return this.at('delete', () => this.store.delete(key));
  }

  copy(from: string, to: string): Promise<void> {
    return this.at('copy', () => this.store.copy(from, to));
  }

  async download(key: string, path: string): Promise<boolean> {
    return await this.alive().download(key, path);
  }

  async abortUploads(key: string): Promise<void> {
    await this.alive().abortUploads(key);
  }

  close(): void {
    this.store.close();
  }
}
