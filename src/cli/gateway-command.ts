import { once } from 'node:events'
import type { Command } from 'commander'
import { openStore } from '../api/index.js'
import { cancellable } from './cancel.js'
import { wholeOption } from './number-option.js'
import { note, print } from './output.js'

/** The command that serves the store to others. */
export function addGatewayCommand(program: Command): void {
  program
    .command('gateway')
    .description('serve what is in the local store to other machines, as a trustless IPFS gateway')
    .option('--port <port>', 'where to listen; 0 for any port that is free', wholeOption('port', 0, 65535), 8080)
    .option('--host <host>', 'which address to listen on', '127.0.0.1')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ masset gateway\n  $ masset gateway --host 0.0.0.0 --port 8081\n  $ curl -O "http://127.0.0.1:8080/ipfs/bafy...?format=car"',
    )
    .action(({ port, host, json }: { port: number; host: string; json?: boolean }) =>
      cancellable(async (signal) => {
        const store = await openStore()
        const { startGateway } = await import('../server/gateway/server.js')
        await using gateway = await startGateway(store, { host, port, onProblem: (line) => note(`masset: ${line}`) })
        const { address, isLocal } = gateway
        print(json ? JSON.stringify({ address, store: store.path }) : address)
        if (!isLocal)
          note(`masset: Whoever reaches ${address} can read all that is in ${store.path}; --host 127.0.0.1 keeps it to this machine`)
        note(`serving ${store.path}; Ctrl-C ends it`)
        if (!signal.aborted) await once(signal, 'abort')
      }),
    )
}
