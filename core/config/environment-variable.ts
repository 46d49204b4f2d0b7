/** A variable of this program's environment that is none of its settings: files of other tools name
 * such. Undefined when it is not set. */
export function environmentVariable(name: string): string | undefined {
  return process.env[name];
}
