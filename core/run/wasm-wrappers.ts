/**
 * A flag for V8. Node strips types with WebAssembly, in every thread anew, and the embedded store is
 * WebAssembly too. After a thousand calls from it to one function V8 compiles the way out, and frees that
 * code when the thread ends; now and then it looks for a page of it that is not on its list any more and
 * ends the whole process (SIGTRAP, "Check failed: jit_page.has_value()"; nodejs/node#64500). With a budget
 * that is never spent the way out stays the one that is never freed.
 */
export const KEEP_WASM_WRAPPERS = '--wasm-wrapper-tiering-budget=2147483647';
