/** Runs passes one after the other, first come first served; so several generations take turns token by token. */
export class PassQueue {
  private tail: Promise<unknown> = Promise.resolve()

  run<T>(pass: () => Promise<T>): Promise<T> {
    const result = this.tail.then(pass)
    this.tail = result.catch(() => undefined)
    return result
  }
}
