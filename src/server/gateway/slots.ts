import { Refusal } from './refusal.js'

const PATIENCE_MS = 30_000

interface Waiting {
  readonly who: string
  readonly enter: () => void
}

/** As many replies at once as memory is meant for, and as many of them to one as leave some for others; more wait, though not for long. */
export class Slots {
  readonly #waiting: Waiting[] = []
  readonly #taken = new Map<string, number>()
  #free: number

  constructor(
    atOnce: number,
    private readonly toOne: number,
  ) {
    this.#free = atOnce
  }

  /** Runs a task for somebody when there is a place for it. @throws Refusal 503 where there is none in time */
  async run<T>(who: string, task: () => Promise<T>): Promise<T> {
    if (this.#hasRoom(who)) this.#take(who)
    else await this.#wait(who)
    try {
      return await task()
    } finally {
      this.#leave(who)
    }
  }

  #hasRoom(who: string): boolean {
    return this.#free > 0 && (this.#taken.get(who) ?? 0) < this.toOne
  }

  #take(who: string): void {
    this.#free -= 1
    this.#taken.set(who, (this.#taken.get(who) ?? 0) + 1)
  }

  #leave(who: string): void {
    this.#free += 1
    const left = this.#taken.get(who)! - 1
    if (left > 0) this.#taken.set(who, left)
    else this.#taken.delete(who)
    const next = this.#waiting.findIndex((one) => this.#hasRoom(one.who))
    if (next >= 0) this.#waiting.splice(next, 1)[0]!.enter()
  }

  async #wait(who: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer)
        // Before anybody else can.
        this.#take(who)
        resolve()
      }
      const waiting = { who, enter }
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(new Refusal(503, 'Cannot answer now: too many others are being answered; try again', { 'Retry-After': '5' }))
      }, PATIENCE_MS)
      this.#waiting.push(waiting)
    })
  }
}
