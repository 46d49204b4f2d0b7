/** Calls the API as a user would, and keeps each call as a curl command for the reader to repeat. */
export class ApiClient {
  readonly commands: string[] = [];
  private readonly base: string;
  private readonly token: string | undefined;

  constructor(base: string, token?: string) {
    this.base = base;
    this.token = token;
  }

  /** Posts and remembers the call; answers the parsed body. Throws with the API's own message. */
  async call<T>(path: string, body: unknown): Promise<T> {
    const json = JSON.stringify(body);
    this.commands.push(
      `curl -s ${this.base}/api/v1/${path} -H 'content-type: application/json' -d '${json}'`,
    );
    return this.quiet<T>(path, body);
  }

  /** The same without a trace, for what is polled. */
  async quiet<T>(path: string, body: unknown): Promise<T> {
    const response = await fetch(`${this.base}/api/v1/${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
      },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async available(): Promise<boolean> {
    return fetch(`${this.base}/api/v1/health`).then(
      (response) => response.ok,
      () => false,
    );
  }
}
