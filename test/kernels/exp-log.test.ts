import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { KernelDesk, range } from '../support/kernel-desk.ts'

/** Distance in units in the last place of the wanted value. */
const ulps = (got: number, wanted: number): number => {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(wanted))) - 23)
  return Math.abs(got - wanted) / unit
}

const samples = 20_000

test('exp is within 2 units in the last place wherever it is normal', () => {
  const desk = new KernelDesk()
  const x = desk.floats(range(samples).map((i) => -87.2 + (i / samples) * 175))
  const out = desk.zeros(samples)
  desk.kernels.exp(out.address, x.address, 0, samples)
  const worst = Math.max(...range(samples).map((i) => ulps(out.view[i], Math.exp(x.view[i]))))
  expect(worst).toBeLessThan(2)
})

test('log is within 2 units in the last place for all magnitudes', () => {
  const desk = new KernelDesk()
  const random = seededRandom(1)
  const x = desk.floats(range(samples).map(() => 2 ** (random.next() * 250 - 125)))
  const out = desk.zeros(samples)
  desk.kernels.log(out.address, x.address, 0, samples)
  const worst = Math.max(...range(samples).map((i) => ulps(out.view[i], Math.log(x.view[i]))))
  expect(worst).toBeLessThan(2)
})

test('their ends are 0, infinite or not a number', () => {
  const desk = new KernelDesk()
  const out = desk.zeros(6)
  const powers = desk.floats([-Infinity, -1e30, -87.31, 88.4, Infinity, NaN])
  desk.kernels.exp(out.address, powers.address, 0, 6)
  expect([...out.view]).toEqual([0, 0, 0, Infinity, Infinity, NaN])
  const values = desk.floats([0, 1e-40, 1, Infinity, -1, NaN])
  desk.kernels.log(out.address, values.address, 0, 6)
  expect([...out.view]).toEqual([-Infinity, -Infinity, 0, Infinity, NaN, NaN])
})
