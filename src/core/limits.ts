/** Bounds on what comes from outside; each is checked before memory is allocated for what it bounds. */
export const LIMITS = {
  /** bytes of a safetensors header, as the format's own reader has it */
  safetensorsHeader: 100_000_000,
  /** tensors in one checkpoint */
  tensors: 1_000_000,
  /** characters of a tensor's name */
  tensorName: 4096,
  /** dimensions of one tensor */
  dimensions: 32,
  /** bytes of one pickle, which is enough for half a million tensors */
  pickle: 128 * 1024 * 1024,
  /** values that a pickle makes */
  pickleValues: 16_000_000,
  /** those of them that memory is made for: texts, lists, dictionaries, tuples, tensors; a tensor and what describes it are nine */
  pickleObjects: 3_000_000,
  /** values that a pickle keeps by number */
  pickleMemo: 4_000_000,
  /** nesting of a pickle's values */
  pickleDepth: 200,
  /** bytes of a whole number in a pickle */
  pickleInteger: 32,
  /** characters of a global that a pickle names */
  pickleGlobal: 512,
  /** entries of a ZIP archive */
  zipEntries: 1_000_000,
  /** bytes of a GGUF header; a vocabulary of 256k with its merges takes 20 million */
  ggufHeader: 256 * 1024 * 1024,
  /** keys of a GGUF header */
  ggufKeys: 65_536,
  /** elements of one list there */
  ggufElements: 8_000_000,
  /** texts of one list there: tokens, merges */
  ggufTexts: 1_000_000,
  /** merges made of a vocabulary with scores; one of 256k has 600 thousand */
  merges: 2_000_000,
  /** squares of the lengths of its tokens, together, which is what it takes to make them */
  mergeWork: 300_000_000,
  /** bytes of one text there */
  ggufText: 16 * 1024 * 1024,
  /** how many times a file's bytes its tensors may have together, where they share them or repeat them */
  expansion: 64,
  /** shards of one checkpoint */
  shards: 10_000,
  /** bytes of a JSON file (config, manifest, index, tokenizer) */
  json: 256 * 1024 * 1024,
  /** files of one repository of a hub */
  hubFiles: 100_000,
  /** values in a JSON file; a vocabulary of 256k with its merges has about 2 million */
  jsonValues: 10_000_000,
  /** nesting of a JSON file */
  jsonDepth: 100,
  /** characters that a chat template may make of a conversation */
  rendered: 16_000_000,
  /** bytes of an ONNX graph without weights */
  graph: 256 * 1024 * 1024,
  /** nodes of an ONNX graph */
  graphNodes: 1_000_000,
  /** nesting of an ONNX message */
  graphDepth: 100,
  /** bytes of an IPFS block */
  block: 2 * 1024 * 1024,
  /** places where an asset may be had, as noted beside it */
  locations: 64,
  /** characters of one of them */
  location: 2048,
  /** characters of an asset's name */
  assetName: 200,
  /** files and folders in a folder of any kind */
  files: 1_000_000,
  /** files in one asset; a model of 61 layers with 384 experts each has 70 thousand */
  assetFiles: 250_000,
  /** folders in one asset, those in folders among them */
  folders: 100_000,
  /** folders above a file, and its own name; a module key of 64 segments needs 66 */
  pathSegments: 100,
  /** bytes of all files of one asset */
  assetBytes: 2 ** 50,
  /** blocks of one DAG that is fetched as a folder */
  dagBlocks: 4_000_000,
  /** levels of nodes in one file's DAG, and of a sharded folder's */
  dagDepth: 32,
  /** links of one node of a file; 1024 under the profile unixfs-v1-2025 */
  fileLinks: 8192,
  /** bytes of one file that arrives from elsewhere; the sums of all its pages are in memory meanwhile */
  arrivingFile: 2 ** 36,
  /** bytes of a percent-encoded module key segment used as a file name */
  pathSegment: 200,
  /** bytes of a fragment's path inside its asset */
  fragmentPath: 1024,
  /** segments of a module key */
  keySegments: 64,
} as const

/** Bytes of a memory and disk page; fragment data and checksums are aligned to it. */
export const PAGE = 4096
/** Bytes of a UnixFS leaf under the profile unixfs-v1-2025. */
export const LEAF = 1024 * 1024
