import type { SingleBar } from 'cli-progress'
import { formatBytes } from '../core/bytes.js'
import { harmless } from '../core/one-line.js'
import type { Progress } from '../core/progress.js'
import { cancellable } from './cancel.js'

/** Data goes to stdout, everything else to stderr. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A line for people, on stderr; names out of an asset may be in it. */
export function note(line: string): void {
  process.stderr.write(`${harmless(line)}\n`)
}

/** Rows as aligned columns; numbers to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, harmless(String(cell)).length)), [])
  return rows
    .map((row) =>
      row
        .map((cell, i) => (typeof cell === 'number' ? String(cell).padStart(widths[i]!) : harmless(cell).padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A progress bar on a terminal for what takes longer than a second; nothing where stderr is piped. */
async function progressBar(): Promise<{ onProgress: (progress: Progress) => void; stop: () => void }> {
  if (!process.stderr.isTTY) return { onProgress: () => undefined, stop: () => undefined }
  const { SingleBar } = await import('cli-progress')
  const started = Date.now()
  let bar: SingleBar | undefined
  const amount = (phase: Progress['phase'], count: number) => (phase === 'load' ? String(count) : formatBytes(count))
  const onProgress = ({ phase, done, total }: Progress) => {
    if (Date.now() - started < 1000) return
    if (!bar) {
      bar = new SingleBar({
        format: '{phase} {bar} {percentage}% {size} eta {eta}s',
        stream: process.stderr,
        clearOnComplete: true,
        hideCursor: true,
      })
      bar.start(total, done, { phase, size: amount(phase, total) })
    }
    bar.update(done, { phase, size: `${amount(phase, done)} of ${amount(phase, total)}` })
  }
  return { onProgress, stop: () => bar?.stop() }
}

/** Runs a call that Ctrl-C cancels, with a progress bar. */
export async function withProgress<T>(
  call: (options: { signal: AbortSignal; onProgress: (progress: Progress) => void }) => Promise<T>,
): Promise<T> {
  return cancellable((signal) => withBar((onProgress) => call({ signal, onProgress })))
}

/** Runs a call with a progress bar. */
export async function withBar<T>(call: (onProgress: (progress: Progress) => void) => Promise<T>): Promise<T> {
  const bar = await progressBar()
  try {
    return await call(bar.onProgress)
  } finally {
    bar.stop()
  }
}
