/**
 * Bounds of requests, where every caller must pass: throws `REQUEST_INVALID` with path and reason.
 */
import { ServiceError } from '../base/errors.ts'
import type { Features } from '../base/features.ts'
import {
  type ItemFilter,
  type ItemSelection,
  type NumericRestrict,
  type RecommendRequest,
  requestLimits,
} from './recommendation.ts'

const invalid = (path: string, reason: string): ServiceError =>
  new ServiceError('REQUEST_INVALID', { path, reason })

function checkInteger(path: string, value: number, [least, most]: readonly [number, number]): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw invalid(path, `an integer from ${least} to ${most}, not ${value}`)
}

function checkLength(path: string, length: number, most: number): void {
  if (length > most) throw invalid(path, `at most ${most}, not ${length}`)
}

export function checkSelection(selection: ItemSelection): void {
  checkInteger('n', selection.n, [1, requestLimits.items])
  checkInteger('offset', selection.offset ?? 0, [0, requestLimits.offset])
  checkLength('exclude', selection.exclude?.length ?? 0, requestLimits.exclude)
  checkLength('among', selection.among?.length ?? 0, requestLimits.among)
  checkInteger('crowding', selection.crowding ?? 1, [1, requestLimits.items])
  const { effort = 0 } = selection
  if (!(effort >= 0 && effort <= 1)) throw invalid('effort', `0 to 1, not ${effort}`)
  if (selection.filter !== undefined) checkFilter(selection.filter)
}

function checkFilter({ allow = {}, deny = {}, numeric = {} }: ItemFilter): void {
  for (const [path, namespaces] of Object.entries({ allow, deny })) {
    const entries = Object.entries(namespaces)
    checkLength(`filter.${path}`, entries.length, requestLimits.filterNamespaces)
    for (const [namespace, values] of entries) {
      checkLength(`filter.${path}.${namespace}`, values.length, requestLimits.filterValues)
    }
  }
  checkLength('filter.numeric', Object.keys(numeric).length, requestLimits.filterNamespaces)
  for (const [name, restrict] of Object.entries(numeric)) checkRestrict(name, restrict)
}

function checkRestrict(name: string, restrict: NumericRestrict): void {
  const bounds = Object.values(restrict).filter((bound) => bound !== undefined)
  if (bounds.length > 0 && bounds.every(Number.isFinite)) return
  throw invalid(`filter.numeric.${name}`, 'one or more finite numbers under eq, lt, lte, gt, gte')
}

export function checkRequest(request: RecommendRequest): void {
  checkSelection(request)
  const { history = [], features = {}, context = {} } = request
  checkLength('history', history.length, requestLimits.history)
  for (const [i, { timestamp = 0 }] of history.entries()) {
    if (!Number.isFinite(timestamp)) throw invalid(`history.${i}.timestamp`, 'not a finite number')
  }
  checkFeatures('features', features)
  checkFeatures('context', context)
}

/** A NaN would go through the towers into every score. */
function checkFeatures(path: string, features: Features): void {
  for (const [name, value] of Object.entries(features)) {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value]
    if (values.some((one) => typeof one === 'number' && !Number.isFinite(one))) {
      throw invalid(`${path}.${name}`, 'not a finite number')
    }
  }
}
