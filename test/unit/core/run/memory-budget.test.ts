import { describe, expect, it } from 'vitest';
import { MemoryBudget } from '../../../../core/run/memory-budget.ts';

describe('the memory of a process', () => {
  it('gives a single busy buffer much, and many the same share each', () => {
    const budget = new MemoryBudget(1000);
    const fill = (account: ReturnType<MemoryBudget['account']>): number => {
      let bytes = 0;
      while (!account.isFull(bytes)) account.hold(++bytes);
      return bytes;
    };
    const first = budget.account();
    expect(fill(first)).toBe(334);
    first.close();
    const accounts = Array.from({ length: 20 }, () => budget.account());
    for (let round = 0; round < 50; round++) for (const account of accounts) fill(account);
    const shares = accounts.map(fill);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    expect(budget.free).toBeGreaterThan(0);
  });

  it('lets an empty buffer take something in when others hold everything', () => {
    const budget = new MemoryBudget(100);
    const greedy = budget.account();
    greedy.hold(500);
    const late = budget.account();
    expect(late.isFull(0)).toBe(false);
    expect(late.isFull(1)).toBe(true);
    greedy.close();
    expect(budget.free).toBe(100);
    expect(late.isFull(1)).toBe(false);
  });

  it('a part of it has no more than its own, nor more than the rest leaves', () => {
    const MIB = 1024 * 1024;
    const whole = new MemoryBudget(100 * MIB);
    const part = whole.part(40 * MIB);
    const account = part.account();
    expect(account.room()).toBe(20 * MIB);
    account.hold(30 * MIB);
    expect([part.free, whole.free]).toEqual([10 * MIB, 70 * MIB]);
    const other = whole.account();
    other.hold(66 * MIB);
    expect(part.free).toBe(4 * MIB);
    account.close();
    other.close();
    expect([part.free, whole.free]).toEqual([40 * MIB, 100 * MIB]);
    expect(whole.part(1).bytes).toBe(16 * MIB);
  });

  it('keeps to a limit of its own below what is free', () => {
    const account = new MemoryBudget(1000).account();
    expect(account.isFull(99, 100)).toBe(false);
    expect(account.isFull(100, 100)).toBe(true);
  });

  it('leaves buffers what the program does not need, and never nothing', () => {
    expect(MemoryBudget.ofProcess(200).bytes).toBe(64 * 1024 * 1024);
    expect(MemoryBudget.ofProcess(32).bytes).toBe(16 * 1024 * 1024);
  });
});
