import { defineConfig } from 'vitest/config'

// Tests run as compiled: what is tested is what ships, and worker threads need real JavaScript files.
export default defineConfig({
  test: {
    include: ['dist/test/**/*.test.js'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})
