/** What the module exports: one line for each file of kernels. */
export { useScratch } from './scratch'
