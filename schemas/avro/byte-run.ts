let lastSource: Uint8Array | null = null;
let lastMemory: ArrayBufferLike = new ArrayBuffer(0);
let lastOffset = 0;

/**
 * A view of some bytes for the engine's own functions, as `subarray`, which asks for the memory behind its
 * array at each call: that costs more than the view. Runs mostly are of one buffer for long, so it is
 * asked for once.
 */
export function byteRun(source: Uint8Array, start: number, end: number): Uint8Array {
  if (source !== lastSource) {
    lastSource = source;
    lastMemory = source.buffer;
    lastOffset = source.byteOffset;
  }
  return new Uint8Array(lastMemory, lastOffset + start, end - start);
}
