import { readdirSync } from 'node:fs'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { openHttp } from '../../support/http-service.ts'
import type { HttpUnderTest } from '../../support/http-service.ts'

const scriptType = 'text/javascript; charset=utf-8'

let http: HttpUnderTest

beforeAll(async () => {
  http = await openHttp()
})

afterAll(() => http[Symbol.asyncDispose]())

test('the page asks for nothing that is not there, and for nothing from elsewhere', async () => {
  const { status, headers, text } = await http.call('GET', '/dashboard')
  expect(status).toBe(200)
  expect(headers['content-type']).toBe('text/html; charset=utf-8')
  expect(headers['content-security-policy']).toContain("script-src 'self'")
  const wanted = [...text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, url]) => url ?? '')
  expect(wanted.length).toBeGreaterThan(3)
  const answers = await Promise.all(wanted.map((url) => http.call('GET', url)))
  expect(answers.map((answer) => answer.status)).toEqual(wanted.map(() => 200))
  // Nothing inline: the policy would refuse it.
  expect(text).not.toMatch(/<script(?![^>]*src=)|<style|style=|\son\w+=/)
})

test('scripts import each other, and the client, by names that are there', async () => {
  const asked = new Set(['/dashboard/main.js', '/dashboard/docs.js'])
  for (const path of asked) {
    const { status, headers, text } = await http.call('GET', path)
    expect([path, status, headers['content-type']]).toEqual([path, 200, scriptType])
    const others = [...text.matchAll(/\bfrom '([^']+)'/g)]
    for (const [, other = ''] of others) asked.add(new URL(other, `http://h${path}`).pathname)
  }
  const client = ['event-batcher', 'freshet-admin', 'freshet-client', 'requests']
  expect([...asked]).toEqual(expect.arrayContaining(client.map((name) => `/client/${name}.js`)))
  const own = readdirSync('src/serving/dashboard').filter((name) => name.endsWith('.js'))
  expect([...asked]).toEqual(expect.arrayContaining(own.map((name) => `/dashboard/${name}`)))
})

test.each(['../package.json', '..%2f..%2fpackage.json', 'main.ts', 'nothing.js', '%00'])(
  '/dashboard/%s is not there',
  async (name) => {
    expect((await http.call('GET', `/dashboard/${name}`)).status).toBe(404)
  },
)

test('the status is what metrics are made of', async () => {
  http.dependencies.metrics.attach(() => ({
    trainer: {
      steps: 1,
      events: 2,
      examples: 3,
      loss: 4,
      guardTrips: 0,
      guardRollbacks: 0,
      lagEvents: 5,
      watermarkAt: 6,
    },
    freshness: Object.fromEntries(
      ['fact', 'parameter', 'index'].map((stage) => [
        stage,
        { bounds: [1, 2], counts: Float64Array.of(3, 0, 1), sum: 9, count: 4 },
      ]),
    ) as never,
  }))
  const { status, body } = await http.call('GET', '/v1/status')
  expect(status).toBe(200)
  expect(body).toMatchObject({ trainer: { steps: 1, lagEvents: 5 } })
  expect(body.freshness.fact).toEqual({ bounds: [1, 2], counts: [3, 0, 1] })
  expect(body.at).toBe(http.clock.now())
})
