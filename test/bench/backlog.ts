import type { LocalServer } from '../../deploy/local/local-server.ts';
import { query } from '../support/rig.ts';

const ROWS_PER_TRANSACTION = 100;

/** The table that the benches of throughput fill. */
export async function createOrders(source: LocalServer): Promise<void> {
  await query(
    source,
    `create table orders (id bigint primary key, customer int, amount numeric(12,2), paid boolean,
       status varchar(20), note text, created_at timestamptz, updated_at timestamptz)`,
  );
}

/** Inserts orders of these numbers, which may be expressions. */
export function insertOrders(first: number | string, last: number | string): string {
  return `insert into orders select i, i % 1000, i / 7.0, i % 2 = 0, 'open', repeat('n', 136), now(), now()
    from generate_series(${first}, ${last}) i`;
}

/** Half inserts, half updates, 100 rows a transaction. */
export async function writeBacklog(source: LocalServer, changes: number): Promise<void> {
  const half = changes / 2;
  const first = `batch * ${ROWS_PER_TRANSACTION} + 1`;
  const last = `(batch + 1) * ${ROWS_PER_TRANSACTION}`;
  await query(
    source,
    `create procedure backlog() language plpgsql as $$
     begin
       for batch in 0..${half / ROWS_PER_TRANSACTION - 1} loop
         ${insertOrders(first, last)};
         commit;
       end loop;
       for batch in 0..${half / ROWS_PER_TRANSACTION - 1} loop
         update orders set status = 'paid', updated_at = now()
           where id between ${first} and ${last};
         commit;
       end loop;
     end $$`,
  );
  await query(source, 'call backlog()');
}
