import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'

/** What the process gets: a template and what it may use. */
export interface RenderTask {
  readonly template: string
  readonly variables: Readonly<Record<string, unknown>>
}

/** What came of it. */
export type RenderResult = { readonly text: string } | { readonly tooLong: number } | { readonly refusal: string }

const SECONDS = 5
// Of its heap; a template with tools and a long conversation takes a few.
const MEGABYTES = 128
const PROGRAM = fileURLToPath(new URL('./template-process.js', import.meta.url))

/**
 * Renders a chat template, which is a program that came with a model: within 5 seconds, 128 MB and 16 million
 * characters. In a process of its own, without an environment: a thread that runs out of memory can take the whole process with it.
 * @throws AssetError 'BAD_INPUT' where the template refuses, 'LIMIT' where it takes more than that
 */
export async function renderTemplate(task: RenderTask): Promise<string> {
  const child = fork(PROGRAM, { execArgv: [`--max-old-space-size=${MEGABYTES}`], env: {}, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  try {
    const result = await answerOf(child, task)
    if ('text' in result) return result.text
    if ('refusal' in result) throw new AssetError('BAD_INPUT', `Cannot render messages: ${result.refusal}`)
    throw beyond(`it makes ${result.tooLong} characters, the limit is ${LIMITS.rendered}`)
  } finally {
    child.kill('SIGKILL')
  }
}

async function answerOf(child: ChildProcess, task: RenderTask): Promise<RenderResult> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<RenderResult>((resolve, reject) => {
      timer = setTimeout(() => reject(beyond(`it takes longer than ${SECONDS} seconds`)), SECONDS * 1000)
      child.once('message', (result) => resolve(result as RenderResult))
      child.once('error', (cause) => reject(new AssetError('IO', `Cannot render messages: ${cause.message}`, { cause })))
      child.once('exit', () => reject(beyond(`it takes more than ${MEGABYTES} MB`)))
      // Where the process is gone already, its end says so.
      child.send(task, () => undefined)
    })
  } finally {
    clearTimeout(timer)
  }
}

function beyond(why: string): AssetError {
  return new AssetError('LIMIT', `Cannot render messages: the chat template does not serve, ${why}; give a prompt as text`)
}
