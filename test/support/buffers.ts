import { MemoryBudget, type BufferAccount } from '../../core/run/memory-budget.ts';

/** Room for one buffer of about `bytes`, in a process that does nothing else. */
export function buffersOf(bytes: number): BufferAccount {
  return new MemoryBudget(3 * bytes).account();
}
