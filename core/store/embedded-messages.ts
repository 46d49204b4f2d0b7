/** A call of the store's thread. `transaction` names the one it belongs to; null: one of its own. */
export type StoreCall =
  | {
      readonly kind: 'query';
      readonly transaction: number | null;
      readonly sql: string;
      readonly params: readonly unknown[];
    }
  | { readonly kind: 'script'; readonly transaction: number | null; readonly sql: string }
  | { readonly kind: 'begin' }
  | { readonly kind: 'commit' | 'rollback'; readonly transaction: number }
  | { readonly kind: 'close' };

export interface StoreRequest {
  readonly id: number;
  readonly call: StoreCall;
}

/** `value`: the rows of a query, the number of a transaction that has begun, else nothing. */
export type StoreAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: DriverError };

/** What the other side needs of a driver's error, which does not cross threads by itself. */
export interface DriverError {
  readonly message: string;
  /** SQLSTATE. */
  readonly code?: string;
  readonly constraint?: string;
}
