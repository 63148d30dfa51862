import { badConfig, type ConfigReader } from './config.js'

/** How far a layer's attention sees. */
export type LayerType = 'sliding_attention' | 'full_attention'

/** The type of each layer: by `layer_types`, or by `usual` in files without. @throws AssetError 'BAD_INPUT' for a type that is none */
export function layerTypesOf(config: ConfigReader, usual: (layer: number) => LayerType): (layer: number) => LayerType {
  const types = config.texts('layer_types')
  return (layer) => {
    const type = types ? types[layer] : usual(layer)
    if (type !== 'sliding_attention' && type !== 'full_attention') throw badConfig(`layer_types gives no known type for layer ${layer}`)
    return type
  }
}
