import { startKubo } from '../kubo.js'

// Starts a daemon and lives until it is killed.
const kubo = await startKubo()
console.log(JSON.stringify({ api: kubo.api, repo: /RepoPath: +(.+)/.exec(await kubo.exec('repo', 'stat'))![1] }))
