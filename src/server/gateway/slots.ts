import { Refusal } from './refusal.js'

const PATIENCE_MS = 30_000

/** As many replies at once as memory is meant for; more wait for their turn, though not for long. */
export class Slots {
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /** Runs a task when there is a place for it. @throws Refusal 503 where there is none in time */
  async run<T>(task: () => Promise<T>): Promise<T> {
    await this.#enter()
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free += 1
    }
  }

  async #enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        reject(new Refusal(503, 'Cannot answer now: too many others are being answered; try again', { 'Retry-After': '5' }))
      }, PATIENCE_MS)
      this.#waiting.push(enter)
    })
  }
}
