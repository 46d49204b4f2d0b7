/** Whether a process of this machine runs, under whatever account. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, under another account.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
