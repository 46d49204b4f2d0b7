/** A process of its own that calls the API for the bench: its parsing must not be in the figures. */
export interface Load {
  readonly url: string;
  readonly body: object;
  readonly requests: number;
  readonly parallel: number;
}

process.on('message', (load: Load) => {
  void call(load).then((taken) => process.send?.(taken));
});

/** Milliseconds of each request, from the first byte sent to the last one parsed. */
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
