// Every message between the page and the worker. Types only; nothing runs here.

/**
 * @typedef {import("../pkg/steering_playground.js").AdapterEntry} AdapterEntry
 * @typedef {import("../pkg/steering_playground.js").AdapterFiles} AdapterFiles
 * @typedef {import("../pkg/steering_playground.js").CachedModel} CachedModel
 * @typedef {import("../pkg/steering_playground.js").CreateOptions} CreateOptions
 * @typedef {import("../pkg/steering_playground.js").DeviceInfo} DeviceInfo
 * @typedef {import("../pkg/steering_playground.js").DoseOptions} DoseOptions
 * @typedef {import("../pkg/steering_playground.js").DoseSide} DoseSide
 * @typedef {import("../pkg/steering_playground.js").GenerateRequest} GenerateRequest
 * @typedef {import("../pkg/steering_playground.js").HubOffer} HubOffer
 * @typedef {import("../pkg/steering_playground.js").Inspection} Inspection
 * @typedef {import("../pkg/steering_playground.js").Law} Law
 * @typedef {import("../pkg/steering_playground.js").LayerMap} LayerMap
 * @typedef {import("../pkg/steering_playground.js").LoadOptions} LoadOptions
 * @typedef {import("../pkg/steering_playground.js").LoadProgress} LoadProgress
 * @typedef {import("../pkg/steering_playground.js").MeasureOptions} MeasureOptions
 * @typedef {import("../pkg/steering_playground.js").Measurement} Measurement
 * @typedef {import("../pkg/steering_playground.js").Memory} Memory
 * @typedef {import("../pkg/steering_playground.js").MadeVector} MadeVector
 * @typedef {import("../pkg/steering_playground.js").MethodCard} MethodCard
 * @typedef {import("../pkg/steering_playground.js").ModelInfo} ModelInfo
 * @typedef {import("../pkg/steering_playground.js").PictureOptions} PictureOptions
 * @typedef {import("../pkg/steering_playground.js").Step} Step
 * @typedef {import("../pkg/steering_playground.js").TemplateVariable} TemplateVariable
 * @typedef {import("../pkg/steering_playground.js").TrainEstimate} TrainEstimate
 * @typedef {import("../pkg/steering_playground.js").TrainOptions} TrainOptions
 * @typedef {import("../pkg/steering_playground.js").TrainRecord} TrainRecord
 * @typedef {import("../pkg/steering_playground.js").TrainStep} TrainStep
 * @typedef {import("../pkg/steering_playground.js").VectorOptions} VectorOptions
 * @typedef {import("../pkg/steering_playground.js").WeightPicture} WeightPicture
 *
 * How far a measurement is: texts that were read, of about so many.
 * @typedef {{done: number, total: number}} Counted
 *
 * A training, once before its first step (null, with what it will take) and after each; `seconds` since then; now and then with
 * what it takes to go on.
 * @typedef {{step: TrainStep|null, parameters: number, seconds: number, memory: Memory, estimate?: TrainEstimate, state?: Uint8Array}} Trained
 *
 * What a training leaves: its files after so many steps; with `state` it was stopped and can go on, with `error` it failed.
 * @typedef {{config: string, weights: Uint8Array, record: TrainRecord, steps: number, state?: Uint8Array, error?: ErrorShape}} Leavings
 *
 * @typedef {LoadProgress|Counted|Trained} Progress
 *
 * What the page can ask, and what it is answered.
 * @typedef {{
 *   create: (options: CreateOptions) => {device: DeviceInfo, methods: MethodCard[]},
 *   loadModel: (source: string|Blob, options: LoadOptions) => ModelInfo,
 *   loadModelFolder: (files: File[]) => ModelInfo,
 *   listHub: (source: string, options: LoadOptions) => HubOffer[],
 *   fetchAdapter: (source: string, options: LoadOptions) => AdapterFiles,
 *   cachedModels: () => CachedModel[],
 *   deleteCachedModel: (url: string) => void,
 *   loadAdapter: (files: AdapterFiles) => AdapterEntry,
 *   reloadAdapter: (id: number, files: AdapterFiles) => AdapterEntry,
 *   inspectAdapter: (files: AdapterFiles) => Inspection,
 *   removeAdapter: (id: number) => void,
 *   setCoefficient: (id: number, c: number) => void,
 *   setLaw: (id: number, law: Law) => void,
 *   setMask: (id: number, layers: string, modules: string, positions: string) => void,
 *   setEnabled: (id: number, on: boolean) => void,
 *   setCachePolicy: (policy: "keep"|"recompute") => void,
 *   generate: (request: GenerateRequest) => void,
 *   promptIds: (request: GenerateRequest) => Uint32Array,
 *   memory: () => Memory,
 *   measure: (options: MeasureOptions) => Measurement,
 *   calibrateSide: (options: DoseOptions, side: "negative"|"positive") => DoseSide,
 *   layerMap: (options: DoseOptions) => LayerMap,
 *   weightPicture: (id: number, options: PictureOptions) => WeightPicture,
 *   makeVector: (options: VectorOptions) => MadeVector,
 *   train: (options: TrainOptions) => Leavings,
 *   behaviours: (text: string) => string[],
 * }} Calls
 * @typedef {keyof Calls} Call
 *
 * Page -> worker.
 * @typedef {{id: number, call: Call, args: any[]}} CallMessage  `args` are structured-cloned
 * @typedef {{abort: number}} AbortMessage                       stops the call with that id
 * @typedef {{ping: number}} PingMessage                         asks for a sign of life
 *
 * Worker -> page.
 * @typedef {{code: string, message: string}} ErrorShape
 * @typedef {{id: number, value: any}} DoneMessage               the call returned
 * @typedef {{id: number, error: ErrorShape}} FailedMessage      the call threw
 * @typedef {{id: number, progress: Progress}} ProgressMessage        loading, measuring, training
 * @typedef {{id: number, step: Step}} StepMessage               generating
 * @typedef {{fatal: ErrorShape|null}} FatalMessage              this worker is of no use any more; null: the console says why
 * @typedef {{life: "lock"|"ping"}} LifeMessage                  first of all: how to learn that it ended
 * @typedef {{pong: number}} PongMessage                         a sign of life
 *
 * @typedef {CallMessage|AbortMessage|PingMessage} ToWorker
 * @typedef {DoneMessage|FailedMessage|ProgressMessage|StepMessage|FatalMessage|LifeMessage|PongMessage} ToPage
 */

export {};
