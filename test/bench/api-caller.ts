/** A process of its own that calls the API for the bench: its parsing must not be in the figures. */
export interface Load {
  readonly url: string;
  readonly body: object;
  readonly requests: number;
  readonly parallel: number;
}

export interface Calls {
  /** Milliseconds of each request, from the first byte sent to the last one parsed. */
  readonly taken: readonly number[];
  /** This process's, for all of them. */
  readonly cpuMicroseconds: number;
}

process.on('message', (load: Load) => {
  const before = process.cpuUsage();
  void call(load).then((taken) => {
    const { user, system } = process.cpuUsage(before);
    process.send?.({ taken, cpuMicroseconds: user + system } satisfies Calls);
  });
});

async function call({ url, body, requests, parallel }: Load): Promise<number[]> {
  const taken: number[] = [];
  let left = requests;
  const caller = async (): Promise<void> => {
    while (left-- > 0) {
      const started = performance.now();
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      await answer.json();
      if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
      taken.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: parallel }, caller));
  return taken;
}
