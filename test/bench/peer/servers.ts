import { query, startRig, type Rig, type Role } from '../../support/rig.ts';
import { createOrders } from '../backlog.ts';
import { PEER_PUBLICATION } from './connector-settings.ts';

/** The slot that the peer's are copies of. */
export const BASE_SLOT = 'peer_base';

/** As a server is run: fsync stays on. No checkpoint falls into a run, and commit times are kept,
 * which say when rows became visible. */
const SERVER_SETTINGS = {
  fsync: 'on',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  track_commit_timestamp: 'on',
};

/** Servers that both systems use in turn; the broker stamps the time of every append. */
export function startPeerRig(roles: readonly Role[]): Promise<Rig> {
  return startRig({
    roles,
    sourceSettings: SERVER_SETTINGS,
    targetSettings: SERVER_SETTINGS,
    kafka: { settings: { 'log.message.timestamp.type': 'LogAppendTime' } },
  });
}

/** The table, all of its columns NOT NULL (a nullable one is a union in the peer's Avro), and what the
 * peer reads it by. */
export async function createPeerOrders(rig: Rig): Promise<void> {
  await createOrders(rig.source);
  const columns = ['customer', 'amount', 'paid', 'status', 'note', 'created_at', 'updated_at'];
  const changes = columns.map((column) => `alter ${column} set not null`);
  await query(rig.source, `alter table orders ${changes.join(', ')}`);
  await query(rig.source, `create publication ${PEER_PUBLICATION} for table orders`);
}

export async function createBaseSlot(rig: Rig): Promise<void> {
  const create = 'select pg_create_logical_replication_slot($1, $2)';
  await query(rig.source, create, [BASE_SLOT, 'pgoutput']);
}

/** A task of the peer that reads what waits in the base slot, from a copy of it. */
export async function copiedSlot(rig: Rig, slot: string) {
  await query(rig.source, 'select pg_copy_logical_replication_slot($1, $2)', [BASE_SLOT, slot]);
  return { server: rig.source, table: 'orders', slot, snapshot: 'no_data' } as const;
}

/** Ahead of a run, so that none falls into it. */
export async function checkpoint(rig: Rig): Promise<void> {
  await Promise.all([query(rig.source, 'checkpoint'), query(rig.target, 'checkpoint')]);
}
