/** The sources that MODULE_ASSETS_SOURCES names, separated by commas. */
export function namedSources(env: NodeJS.ProcessEnv = process.env): string[] {
  const texts = (env.MODULE_ASSETS_SOURCES ?? '').split(',').map((text) => text.trim())
  return texts.filter((text) => text !== '')
}
