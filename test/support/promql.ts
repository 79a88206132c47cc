/** What an expression of Prometheus asks for, by its own grammar. */
import { parser } from '@prometheus-io/lezer-promql'

export interface Selector {
  readonly metric: string
  /** Label and value of each matcher, with its operator between. */
  readonly matchers: readonly (readonly [label: string, operator: string, value: string])[]
}

export interface Expression {
  /** Where it is no expression. */
  readonly errors: readonly number[]
  readonly selectors: readonly Selector[]
  /** Labels by which it groups. */
  readonly grouping: readonly string[]
}

export function parseExpression(text: string): Expression {
  const errors: number[] = []
  const selectors: Selector[] = []
  const grouping: string[] = []
  parser.parse(text).iterate({
    enter({ type, name, node, from, to }) {
      if (type.isError) errors.push(from)
      if (name === 'VectorSelector') {
        const own = node.getChild('Identifier')
        const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []
        selectors.push({
          metric: own === null ? '' : text.slice(own.from, own.to),
          matchers: matchers.map((matcher) => {
            const [, label = '', operator = '', value = ''] =
              /^(\w+)\s*(=~|!~|!=|=)\s*"(.*)"$/.exec(text.slice(matcher.from, matcher.to)) ?? []
            return [label, operator, value]
          }),
        })
      }
      if (name === 'LabelName' && node.parent?.name === 'GroupingLabels') {
        grouping.push(text.slice(from, to))
      }
    },
  })
  return { errors, selectors, grouping }
}
