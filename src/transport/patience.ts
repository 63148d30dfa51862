/** Slower than that, for as long as somebody is patient, is as good as gone; bytes a second. */
const SLOWEST = 1024

/** Watches somebody who should send or take bytes: how long it has us wait, and how much comes meanwhile. */
export class Patience {
  private timer: NodeJS.Timeout | undefined
  private began: number | undefined
  private waited = 0
  private came = 0

  /**
   * @param milliseconds without progress that are borne; may be infinite
   * @param onLost called, once, when they are over
   */
  constructor(
    private readonly milliseconds: number,
    private readonly onLost: () => void,
  ) {}

  /** Begins to wait for the other side. */
  wait(): void {
    this.began = performance.now()
    if (this.timer) this.timer.refresh()
    // No timer can be set for longer; that is 24 days.
    else if (this.milliseconds < 2 ** 31) this.timer = setTimeout(() => this.began !== undefined && this.onLost(), this.milliseconds)
  }

  /** Ends the waiting: so many bytes came. What one does with them is not the other side's time. */
  progress(bytes: number): void {
    if (this.began !== undefined) this.waited += performance.now() - this.began
    this.began = undefined
    this.came += bytes
    if (this.waited <= this.milliseconds) return
    if (this.came < (SLOWEST * this.waited) / 1000) this.onLost()
    this.waited = 0
    this.came = 0
  }

  end(): void {
    this.began = undefined
    clearTimeout(this.timer)
  }
}
