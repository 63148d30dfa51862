import type { Tokenizer } from './tokenizer.js'

/**
 * Text as it grows token by token. A token's text may depend on those before it (spaces, characters of several bytes),
 * so a few tokens before are decoded along, and what ends in the middle of a character waits.
 */
export class TextStream {
  private ids: number[]
  private shown: number

  constructor(
    private readonly tokenizer: Tokenizer,
    prompt: readonly number[],
  ) {
    this.ids = prompt.slice(-8)
    this.shown = this.ids.length
  }

  /** The text that this token adds; '' while it is in the middle of a character. */
  push(id: number): string {
    this.ids.push(id)
    const text = this.difference()
    if (text.endsWith('\ufffd')) return ''
    this.ids = this.ids.slice(-8)
    this.shown = this.ids.length
    return text
  }

  /** What is left when no token follows. */
  end(): string {
    return this.shown === this.ids.length ? '' : this.difference()
  }

  private difference(): string {
    const before = this.tokenizer.decode(this.ids.slice(0, this.shown))
    const after = this.tokenizer.decode(this.ids)
    return after.startsWith(before) ? after.slice(before.length) : after
  }
}

/** Cuts a stream of text at the first of some stop texts, holding back what may be the beginning of one. */
export class StopTexts {
  private held = ''
  stopped = false

  constructor(private readonly stops: readonly string[]) {}

  push(text: string): string {
    this.held += text
    const ends = this.stops.map((stop) => this.held.indexOf(stop)).filter((at) => at >= 0)
    if (ends.length > 0) {
      this.stopped = true
      return this.take(Math.min(...ends))
    }
    let keep = 0
    for (const stop of this.stops) {
      for (let length = Math.min(stop.length - 1, this.held.length); length > keep; length--)
        if (this.held.endsWith(stop.slice(0, length))) keep = length
    }
    return this.take(this.held.length - keep)
  }

  /** What was held back, when no text follows. */
  end(): string {
    return this.stopped ? '' : this.take(this.held.length)
  }

  private take(length: number): string {
    const text = this.held.slice(0, length)
    this.held = this.held.slice(length)
    return text
  }
}
