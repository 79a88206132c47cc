import { readFileSync } from 'node:fs'

import { expect, test } from 'vitest'

import { Arena } from '../../src/kernels/arena.ts'
import { instantiate, kernelSite, loadKernels } from '../../src/kernels/kernels.ts'

const module = readFileSync('build/kernels.wasm')

/** Ids of the sections of a WebAssembly module, by the binary format: id, size as LEB128, body. */
function sections(bytes: Uint8Array): number[] {
  const ids: number[] = []
  for (let at = 8; at < bytes.length;) {
    ids.push(bytes[at])
    at += 1
    let size = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at]
      at += 1
      size += (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += size
  }
  return ids
}

const names = (implementation: 'wasm' | 'reference'): string[] =>
  Object.keys(loadKernels(new Arena(1 << 17), { implementation })).toSorted()

test('every kernel has a twin, and every twin a kernel', () => {
  expect(names('wasm').filter((name) => name !== 'useScratch')).toEqual(names('reference'))
})

test('the module keeps no data of its own in the memory that its threads share', () => {
  const dataSection = 11
  expect(sections(module)).not.toContain(dataSection)
})

test('a module that was built before others were added is refused by the name of one', () => {
  const empty = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))
  const site = { ...kernelSite(new Arena(1 << 17)), module: empty }
  expect(() => instantiate(site)).toThrow(
    /^kernels cannot be loaded .* another version, without \w+; build them with `npm run kernels`$/,
  )
})

test('kernels of two arenas do not meet', () => {
  const [a, b] = [new Arena(1 << 17), new Arena(1 << 17)]
  const [kernels] = [loadKernels(a), loadKernels(b)]
  const [x, y] = [a.floats(4), b.floats(4)]
  expect(x.address).toBe(y.address)
  x.view.fill(2)
  kernels.scale(x.address, x.address, 3, 0, 4)
  expect([...x.view, ...y.view]).toEqual([6, 6, 6, 6, 0, 0, 0, 0])
})

test('an arena without room for scratch space is refused', () => {
  const arena = new Arena(1 << 16)
  arena.bytes(100_000)
  expect(() => loadKernels(arena)).toThrow(expect.objectContaining({ code: 'MEMORY_EXHAUSTED' }))
})
