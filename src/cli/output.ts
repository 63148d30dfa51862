import { SingleBar } from 'cli-progress'
import { formatBytes } from '../core/bytes.js'
import type { Progress } from '../core/progress.js'

/** Data goes to stdout, everything else to stderr. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A line for people, on stderr. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Rows as aligned columns; numbers to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, String(cell).length)), [])
  return rows
    .map((row) =>
      row
        .map((cell, i) => (typeof cell === 'number' ? String(cell).padStart(widths[i]!) : String(cell).padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A progress bar on a terminal for what takes longer than a second; nothing where stderr is piped. */
export function progressBar(): { onProgress: (progress: Progress) => void; stop: () => void } {
  const started = Date.now()
  let bar: SingleBar | undefined
  const onProgress = ({ phase, done, total }: Progress) => {
    if (!process.stderr.isTTY || Date.now() - started < 1000) return
    if (!bar) {
      bar = new SingleBar({
        format: '{phase} {bar} {percentage}% {size} eta {eta}s',
        stream: process.stderr,
        clearOnComplete: true,
        hideCursor: true,
      })
      bar.start(total, done, { phase, size: formatBytes(total) })
    }
    bar.update(done, { phase, size: `${formatBytes(done)} of ${formatBytes(total)}` })
  }
  return { onProgress, stop: () => bar?.stop() }
}
