import { enableCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { KEEP_WASM_WRAPPERS } from '../core/run/wasm-wrappers.ts';

setFlagsFromString(KEEP_WASM_WRAPPERS);
// Stripping types and compiling takes half of the start, and the stripper alone 30 MB. The folder is
// ours: in a shared one another user could leave code for us to run. One that cannot be written to is
// no cache, and no harm.
enableCompileCache(new URL('../node_modules/.cache/headrace', import.meta.url).pathname);
const { runProgram } = await import('./cli/program.ts');
await runProgram();
