/**
 * Optimizers on blocks of floats (Duchi, Hazan, Singer 2011; Kingma, Ba 2015), with the epsilon where
 * TensorFlow has it: under Adagrad's root, beside Adam's. What is left of a block after the last
 * whole vector is done one by one in the same order of operations.
 */

/** The step of Adagrad for a gradient, given its new accumulator. */
// @ts-ignore: decorator
@inline
function adagradStep(w: usize, g: v128, sum: v128, rate: v128, epsilon: v128): void {
  const step = f32x4.div(f32x4.mul(rate, g), f32x4.sqrt(f32x4.add(sum, epsilon)))
  v128.store(w, f32x4.sub(v128.load(w), step))
}

export function adagrad(
  w: usize, a: usize, g: usize, rate: f32, epsilon: f32, from: i32, to: i32,
): void {
  const rates = f32x4.splat(rate)
  const epsilons = f32x4.splat(epsilon)
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) {
    const gradient = v128.load(g + i)
    const sum = f32x4.add(v128.load(a + i), f32x4.mul(gradient, gradient))
    v128.store(a + i, sum)
    adagradStep(w + i, gradient, sum, rates, epsilons)
  }
  for (; i < end; i += 4) {
    const gradient = load<f32>(g + i)
    const sum = load<f32>(a + i) + gradient * gradient
    store<f32>(a + i, sum)
    store<f32>(w + i, load<f32>(w + i) - (rate * gradient) / sqrt<f32>(sum + epsilon))
  }
}

export function adagradDecay(
  w: usize, a: usize, g: usize, rate: f32, epsilon: f32, decay: f32, floor: f32, from: i32, to: i32,
): void {
  const rates = f32x4.splat(rate)
  const epsilons = f32x4.splat(epsilon)
  const decays = f32x4.splat(decay)
  const floors = f32x4.splat(floor)
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) {
    const gradient = v128.load(g + i)
    const kept = f32x4.pmax(f32x4.mul(v128.load(a + i), decays), floors)
    const sum = f32x4.add(kept, f32x4.mul(gradient, gradient))
    v128.store(a + i, sum)
    adagradStep(w + i, gradient, sum, rates, epsilons)
  }
  for (; i < end; i += 4) {
    const gradient = load<f32>(g + i)
    const decayed = load<f32>(a + i) * decay
    const sum = (decayed < floor ? floor : decayed) + gradient * gradient
    store<f32>(a + i, sum)
    store<f32>(w + i, load<f32>(w + i) - (rate * gradient) / sqrt<f32>(sum + epsilon))
  }
}

export function adam(
  w: usize, m: usize, v: usize, g: usize, rate: f32, beta1: f32, beta2: f32, epsilon: f32,
  from: i32, to: i32,
): void {
  const rates = f32x4.splat(rate)
  const epsilons = f32x4.splat(epsilon)
  const rest1 = f32(1) - beta1
  const rest2 = f32(1) - beta2
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) {
    const gradient = v128.load(g + i)
    const mean = f32x4.add(
      f32x4.mul(f32x4.splat(beta1), v128.load(m + i)), f32x4.mul(f32x4.splat(rest1), gradient),
    )
    const square = f32x4.add(
      f32x4.mul(f32x4.splat(beta2), v128.load(v + i)),
      f32x4.mul(f32x4.splat(rest2), f32x4.mul(gradient, gradient)),
    )
    v128.store(m + i, mean)
    v128.store(v + i, square)
    const step = f32x4.div(f32x4.mul(rates, mean), f32x4.add(f32x4.sqrt(square), epsilons))
    v128.store(w + i, f32x4.sub(v128.load(w + i), step))
  }
  for (; i < end; i += 4) {
    const gradient = load<f32>(g + i)
    const mean = beta1 * load<f32>(m + i) + rest1 * gradient
    const square = beta2 * load<f32>(v + i) + rest2 * (gradient * gradient)
    store<f32>(m + i, mean)
    store<f32>(v + i, square)
    store<f32>(w + i, load<f32>(w + i) - (rate * mean) / (sqrt<f32>(square) + epsilon))
  }
}
