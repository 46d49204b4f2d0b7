export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
}

/** What this destination asks of an object store; every error is a classified PipelineError. */
export interface ObjectStore {
  bucketExists(): Promise<void>;
  /** False when an object with this key exists already; its content is then untouched. */
  putIfAbsent(key: string, body: string): Promise<boolean>;
  put(key: string, body: string): Promise<void>;
  get(key: string): Promise<string | null>;
  /** User metadata, or null when there is no such object. */
  head(key: string): Promise<Record<string, string> | null>;
  /** Keys behind `after` that begin with `prefix`, in order. */
  list(prefix: string, after?: string): AsyncIterable<string>;
  /** The same with their sizes. */
  objects(prefix: string): AsyncIterable<StoredObject>;
  delete(key: string): Promise<void>;
  /** Uploads a local file; false as for putIfAbsent. */
  uploadIfAbsent(
    key: string,
    path: string,
    bytes: number,
    metadata: Record<string, string>,
  ): Promise<boolean>;
  /** Copies an object within the store; its user metadata goes along. */
  copy(from: string, to: string): Promise<void>;
  /** Writes an object's content to a local file; false when there is no such object. */
  download(key: string, path: string): Promise<boolean>;
  /** Aborts what unfinished uploads left under exactly this key. */
  abortUploads(key: string): Promise<void>;
  close(): void;
}
