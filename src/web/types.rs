//! TypeScript types of options and results; the classes' own are generated.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
declare global {
  interface SymbolConstructor {
    /** The classes have it; TypeScript's libraries up to ES2024 do not. */
    readonly dispose: unique symbol;
  }
}

/** Every error of this package. */
export class PlaygroundError extends Error {
  readonly name: "PlaygroundError";
  /** Stable across releases, for programs; the message is for people. */
  readonly code: ErrorCode;
}

/** `panic` and `device-lost` need a new worker; everything else leaves the playground usable. */
export type ErrorCode =
  | "wrong-magic" | "truncated" | "tensor-beyond-file" | "bad-header" | "unsupported-dtype"
  | "unsupported-model" | "missing-key" | "unexpected-keys" | "wrong-shape" | "bad-config"
  | "unknown-method" | "unsupported-option" | "bad-task" | "bad-value" | "not-finite"
  | "bad-coefficient"
  | "bad-law" | "no-such-adapter" | "no-such-module"
  | "empty-prompt" | "prompt-too-long" | "bad-option" | "bad-token" | "no-tokenizer"
  | "bad-tokenizer" | "no-chat-template" | "bad-chat-template" | "no-model" | "diverged" | "not-trained" | "aborted"
  | "device-unavailable" | "device-lost" | "quota-exceeded" | "damaged-copy" | "hash-mismatch"
  | "network" | "not-found" | "gated" | "several-models" | "unshared"
  | "io" | "panic";

export interface CreateOptions {
  /** `auto` takes WebGPU where it is good and the CPU otherwise. */
  device?: "auto" | "webgpu" | "cpu";
  /** Whether a software GPU, which computes on the CPU, may be used. It is slower than the CPU path. */
  allowSoftwareGpu?: boolean;
  /** `true` widens all weights to f32 on the CPU. Otherwise the CPU keeps quantised weights as the
   * file has them, which is faster, takes a fifth of the memory, and rounds activations to 16 bits. */
  exact?: boolean;
}

export interface DeviceInfo {
  kind: "cpu" | "webgpu";
  /** The GPU's name as far as the browser reports it. */
  name: string;
  /** Why this device was chosen, in words. */
  why: string;
  /** Whether it is a software GPU, which computes on the CPU. */
  software: boolean;
  /** WebGPU features of the adapter; on the CPU `relaxed-simd` where it is used. */
  features: string[];
  limits: Record<string, number>;
}

export interface LoadProgress {
  state: "downloading" | "verifying" | "uploading" | "warming-up" | "ready";
  /** True bytes, of the file. */
  bytes: number;
  /** 0 while unknown. */
  totalBytes: number;
}

/** A model or an adapter that a repository of the Hub holds. */
export interface HubOffer {
  /** For `loadModel` or `fetchAdapter`: `hub:owner/name/file`. */
  id: string;
  /** Of its file or folder; empty for the repository itself. */
  path: string;
  /** Of what would be fetched. */
  bytes: number;
  /** A `.gguf` may be an adapter too: that stands in the file. */
  adapter: boolean;
}

export interface LoadOptions {
  /** Where the Hub is: a mirror's address; `https://huggingface.co` unless given. */
  hub?: string;
  /** The file's SHA-256 in hex; another file is refused with `hash-mismatch`. */
  sha256?: string;
  /** `false` neither uses nor keeps a copy in the browser. */
  cache?: boolean;
  /** What a model folder is called, to compare with the base model that an adapter names. */
  name?: string;
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting keeps what was downloaded; the next call goes on from there. */
  signal?: AbortSignal;
}

export interface ModelInfo {
  name: string;
  /** Of the file. */
  bytes: number;
  /** Of the weights on the device. */
  weightBytes: number;
  /** Which numbers are multiplied, in words. */
  arithmetic: string;
  sha256: string | null;
  /** Whether a copy is kept in this browser, so that the next load needs no network. */
  cached: boolean;
  /** Why not, in words. */
  note: string | null;
  layers: number;
  width: number;
  /** Longest text in tokens. */
  context: number;
  hasTokenizer: boolean;
  hasChatTemplate: boolean;
  /** Such as `qwen3`. */
  family: string;
  /** How many numbers its tensors hold; shared ones count once. */
  parameters: number;
  /** The formats of its matrices, that of most bytes first: `["Q4_1", "Q8_0"]`. */
  formats: string[];
  /** Whether the chat template has a place for a message of the role `system`. */
  takesSystem: boolean;
  /** What the chat template reads besides the messages, for `GenerateRequest.templateVariables`. */
  templateVariables: TemplateVariable[];
  /** Where this model computes, and why: the CPU where a GPU has no room for it. */
  device: DeviceInfo;
  /** Tensors of the file that this architecture does not use. */
  unusedTensors: string[];
  /** What happened on the way that people should know, in words: that the copy kept in this browser
   * was damaged and was fetched again; that a GPU which was insisted on has little room for it. */
  warnings: string[];
}

/** A variable of a chat template that changes what is read: found by rendering it with and without. */
export interface TemplateVariable {
  /** As the template calls it, such as `enable_thinking`. */
  name: string;
  /** True or false, or a text that the template writes out. */
  kind: "switch" | "text";
  /** Of a switch: what leaving it out means; null where that is a third thing, and for texts. */
  default: boolean | null;
}

export interface CachedModel {
  url: string;
  /** Of the whole file; null while the server has not reported it. */
  sizeBytes: number | null;
  /** Of the whole file; null until it is complete. */
  sha256: string | null;
  version: string | null;
  /** Whether the whole file is kept; else the next load goes on from `keptBytes`. */
  complete: boolean;
  keptBytes: number;
}

export interface AdapterFiles {
  /** For messages. */
  name: string;
  /** `adapter_config.json`, of PEFT or mlx-lm; a control vector and a `.gguf` may come without. */
  config?: string | ArrayBuffer | Uint8Array | Blob | null;
  /** A second file of tensors that belongs to it: AntiPaSTO's `0_svd_bases.safetensors`. */
  bases?: ArrayBuffer | Uint8Array | Blob | null;
  /** `adapter_model.safetensors`, mlx-lm's `adapters.safetensors`, or a `.gguf` of llama.cpp's: a
   * LoRA or a control vector. Of any other file its first 512 bytes do, for the error that says what
   * it is and what to do about it. */
  weights: ArrayBuffer | Uint8Array | Blob;
  /** Which of its tasks to run, from 0, for a method trained for several (`Inspection.tasks`). */
  task?: number | null;
  /** The experts of X-LoRA, in order: PEFT's subfolders `0`, `1`, …. Another method's subfolders
   * are adapters of their own: giving them here is refused. */
  experts?: AdapterFiles[] | null;
  /** Weights for X-LoRA's experts, instead of those that its gate gives for every token, or for
   * Poly's skills (`Inspection.skills`), instead of those of a `task`, which is then left out. */
  expertWeights?: number[] | null;
}

export interface AdapterEntry {
  id: number;
  name: string;
  /** Name of the method, as in `MethodCard.name`. */
  method: string;
  title: string;
  /** How the coefficient acts. */
  law: Law;
  lawWords: string;
  /** The laws that `setLaw` may choose for this checkpoint, the default first. */
  laws: Offer[];
  /** Laws of the method that this checkpoint's numbers do not admit, and why. */
  lawsRefused: [law: Law, why: string][];
  /** Blocks on which it may act, as `5-20` or `all`, or with modules as `5-20:q_proj;3:v_proj`: see `setMask`. */
  maskLayers: string;
  /** Modules on which it may act, as `q_proj,v_proj` or `all`. */
  maskModules: string;
  /** Tokens on which it may act: `all`, `prompt`, `generated` or, from position 12 on, `from:12`. */
  maskPositions: string;
  /** What the mask leaves out without naming it, in words. */
  maskRemarks: string[];
  /** The base model that its config names. */
  baseModel: string | null;
  /** Blocks on which it acts without a mask, as `0-2, 5`; `none` for the embedding, the head or the last norm only. */
  layersReached: string;
  /** Reasons to doubt that it was made for this model, though it fits, in words. */
  warnings: string[];
  /** Places of the model on which it acts. */
  modules: number;
  /** Their kinds, as `setMask` calls them, each with its blocks; none for what is in no block. */
  places: [module: string, blocks: number[]][];
  /** Numbers in its file. */
  parameters: number;
  /** Bytes of whole matrices that it keeps on the device, 0 for most methods. */
  denseBytes: number;
  coefficient: number;
  enabled: boolean;
}

export type Law = "linear" | "geodesic" | "power" | "log-polar" | "spectral" | "gate" | "attention-mix";

export interface Offer {
  law: Law;
  words: string;
  /** Coefficients outside it are refused, for this reason; null when any number will do. */
  domain: { range: { start: number; end: number }; why: string } | null;
}

export interface MethodCard {
  name: string;
  title: string;
  summary: string;
  /** Address of the paper. */
  paper: string;
  family: "low-rank" | "full-rank" | "scale" | "rotate" | "prompt" | "vector";
  law: Law;
  lawWords: string;
  formula: string;
  /** Tensors of the checkpoint. */
  shapes: string;
  /** What the coefficient does, in this method's terms. */
  coefficient: string;
  /** What stays as it is; "" where the method promises nothing of its own. */
  invariant: string;
  /** What the method believes about how a network keeps what it knows. */
  hypothesis: string;
  intuition: string;
  /** What it cannot do. */
  limits: string;
  /** Whether `train()` takes it. */
  trains: boolean;
  /** What training takes and this method is not, in words: "a method that …"; "" where it can be trained. */
  trainsNot: string;
}

export interface Inspection {
  name: string;
  method: MethodCard | null;
  law: Law | null;
  baseModel: string | null;
  modules: string[];
  /** Blocks for which the file has entries, as `0-2, 5`. */
  layers: string | null;
  /** The model for which it was looked at; null here, since none is asked for. */
  model: string | null;
  layersReached: string | null;
  warnings: string[];
  parameters: number;
  /** How many tasks it was trained for, where one of them has to be chosen. */
  tasks: number | null;
  /** How many skills its tasks share; weights for these may be given in a task's place. */
  skills: number | null;
  /** How many experts it mixes, whose files must be given with it. */
  experts: number | null;
  /** Why loading would fail: pairs of code and sentence. */
  refused: [code: string, sentence: string][];
}

export interface Sampling {
  /** 0, the default, always takes the likeliest token. */
  temperature?: number;
  /** Keeps the k likeliest tokens; 0 keeps all. */
  topK?: number;
  /** Keeps the likeliest tokens that together reach this probability; 1 keeps all. */
  topP?: number;
  /** Drops tokens below this share of the likeliest one's probability. */
  minP?: number;
  /** Above 1 makes tokens that were already written less likely. */
  repetitionPenalty?: number;
  /** Seed of the noise that base and steered stream share. */
  seed?: number;
}

/** One of `prompt`, `chat` and `ids` must be there. */
export interface GenerateRequest {
  /** Plain text to continue. */
  prompt?: string;
  /** A conversation to answer, through the model's chat template. */
  chat?: { role: string; content: string }[];
  /** What the chat template reads besides the messages, such as `{ enable_thinking: false }`. One that
   * it does not read changes nothing. */
  templateVariables?: Record<string, unknown>;
  /** Token ids to continue. */
  ids?: number[];
  maxTokens?: number;
  sampling?: Sampling;
  /** Texts that end a stream; they are not part of it. Special tokens count as they are spelled. */
  stop?: string[];
  /** What a change of coefficients does to the text so far. */
  cache?: "keep" | "recompute";
  /** Whether the base model runs beside the steered one, with the same noise. */
  compare?: boolean;
  /** Whether the distance is also measured after the first difference (one more pass per token). */
  klAfterSplit?: boolean;
  /** How many of the likeliest tokens to report at each step. */
  top?: number;
}

export type Step = PrefillStep | TokenStep;

/** Part of a long prompt was read. */
export interface PrefillStep {
  kind: "prefill";
  doneTokens: number;
  totalTokens: number;
}

/** One token of each stream that has not ended. */
export interface TokenStep {
  kind: "token";
  index: number;
  steered: LaneStep | null;
  base: LaneStep | null;
  /** KL(steered‖base) after the steered text, in nats; null where it is not measured. */
  klNats: number | null;
  /** The adapters that acted, and their coefficients. */
  coefficients: [id: number, coefficient: number][];
  /** Whether earlier tokens were computed under the present coefficients (`current`), under
   * other ones (`kept`: from here on), or again (`recomputed`: as if from the start). */
  cache: "current" | "kept" | "recomputed";
  /** The likeliest next tokens, if asked for. `differenceNats` is ln steered − ln base: how much likelier steering
   * makes it; null where the base does not read the text, or one of the two is too small for a number. */
  top: { id: number; text: string; steered: number; base: number | null; differenceNats: number | null }[];
}

export interface LaneStep {
  id: number;
  /** Text that became certain with it; may be empty. */
  text: string;
  /** Before temperature and filters. */
  probability: number;
  /** On the last token only. `length`: as many as were asked for; `context`: no room for more. */
  finish: "end-of-text" | "length" | "context" | "stop-text" | null;
}

/** What is measured on, and what c turns. */
export interface DoseOptions {
  /** A file of contrasting answers, as its text or its object; the shipped one unless given. */
  pairs?: string | object;
  /** Its name, for complaints. */
  pairsName?: string;
  /** Which of its behaviours. */
  behaviour: string;
  /** What c turns, each times its `scale` (1 unless given); all that are switched on unless given. Other adapters are left out. */
  adapters?: { id: number; scale?: number }[];
  templateVariables?: Record<string, unknown>;
  /** The strength asked for. */
  nats?: number;
  /** Before each text that is read. */
  onProgress?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
}

export interface MeasureOptions extends DoseOptions {
  /** Values of c; −1, 0 and 1 are added. −2 to 2 in halves unless given, as far as the laws admit them. */
  coefficients?: number[];
  split?: Split;
  seed?: number;
  /** Tokens of each text whose repetitions are counted; 0 leaves that out. */
  repetitionTokens?: number;
  /** Whether the prompting baseline is read; true unless given. */
  prompting?: boolean;
}

export type Split = "train" | "stop" | "test";

/** Numbers that are beyond what f32 logits can say are null. `k` coefficients, prompts in the file's order. */
export interface Measurement {
  model: { name: string; sha256: string | null; arithmetic: string; device: "cpu" | "gpu" };
  adapters: AdapterFacts[];
  behaviour: string;
  split: Split;
  pairs_sha256: string;
  prompt_form: "chat" | "plain";
  prompts: string[];
  coefficients: number[];
  coefficients_left_out: number[];
  /** Mean over prompts of the mean log-probability of the positive minus that of the negative answer, per token. */
  d_nats: number[];
  /** By prompt, then by coefficient. */
  per_prompt: number[][];
  slope: { mean: number; low: number; high: number };
  kendall_tau: number;
  ordered_share: number;
  wrong_way_share: number;
  symmetry: number | null;
  inverse_error: number | null;
  kl_nats: { mean: (number | null)[]; p95: (number | null)[] };
  nll_shift_nats: (number | null)[];
  repetition: { "-1": number; "0": number; "1": number } | null;
  /** True, or the largest difference of two logits. */
  base_identity: true | number;
  prompting: { positive: number; negative: number } | null;
  seconds: number;
  version: string;
  seed: number;
}

export interface AdapterFacts {
  name: string;
  method: string;
  law: Law;
  sha256: string;
  scale: number;
  layers: string;
  modules: string;
  /** Tokens on which it may act; those of an answer count as generated. */
  positions: string;
}

export interface Calibration {
  target_nats: number;
  adapters: AdapterFacts[];
  negative: DoseSide;
  positive: DoseSide;
}

export interface DoseSide {
  /** Null where no c reaches the strength. */
  c: number | null;
  kl_p95_nats: number | null;
  kl_mean_nats: number | null;
  nll_shift_nats: number | null;
  note: string | null;
}

export interface LayerMap {
  adapters: AdapterFacts[];
  behaviour: string;
  split: Split;
  target_nats: number;
  layers: { layer: number; c: number | null; kl_p95_nats: number | null; effect_nats: number | null }[];
  suggestion: { layers: string; dose: DoseSide } | null;
}

/** A place of the model: the first one where the adapter acts, unless given. */
export interface PictureOptions {
  /** Block, counted from 0; null for what is in no block. */
  layer?: number | null;
  /** As `setMask` calls it. */
  module?: string | null;
  /** 1 unless given. */
  c?: number;
}

export interface TensorShape {
  name: string;
  shape: number[];
}

export interface WeightPicture {
  module: string;
  layer: number | null;
  c: number;
  law: Law;
  /** Tensors of the adapter's file that belong to this place alone. */
  tensors: TensorShape[];
  /** Those that all places share. */
  shared: TensorShape[];
  /** Whether the adapter's mask leaves this place out, so that the picture is what would be. */
  isMasked: boolean;
  what: PictureOfWeight | OtherPicture;
}

/** A linear layer W, `[o, i]`, and what c makes of it. */
export interface PictureOfWeight {
  kind: "weight";
  shape: [o: number, i: number];
  /** The largest singular values of W, falling: as many as are certain, 64 at most. */
  base: number[];
  /** Those of W(c). */
  steered: number[];
  /** How far one of them moved at most, as a share of itself. */
  moved: number;
  /** Those of W(c) − W, without what cannot be told from rounding. */
  change: number[];
  /** Whether these are all of the change's, so that their number is its rank. */
  isWhole: boolean;
  /** ‖W(c) − W‖ / ‖W‖ */
  relative: number;
  /** ‖b(c) − b‖: what is added to every output. */
  constant: number;
  /** Rows and columns of the small picture. */
  small: [rows: number, columns: number];
  /** The mean of W(c) − W in each of its cells, row by row. */
  means: number[];
  /** The root of the mean square. */
  sizes: number[];
  checks: PictureChecks;
}

/** Numbers that a law or a method promises, measured on inputs that are always the same. */
export interface PictureChecks {
  /** ‖x'‖/‖x‖, the least and the most, where the input is mapped. */
  inputLengths: [least: number, most: number] | null;
  outputLengths: [least: number, most: number] | null;
  /** How far −c after c is from nothing, where the law promises that it undoes c. */
  undone: number | null;
  /** How far the change at c is from c times that at 1, for the laws that promise it. */
  proportional: number | null;
}

/** Places of which there is no picture of a weight, and what there is to say of them. */
export type OtherPicture =
  /** Experts that a gate weighs anew for every token. */
  | { kind: "mixture"; shape: [o: number, i: number] }
  | { kind: "tooLarge"; shape: [o: number, i: number]; largest: number }
  | { kind: "step"; width: number; length: number; removed: number; keepsLength: boolean }
  | { kind: "tokens"; tokens: number; heads: number; headWidth: number }
  | { kind: "gain"; width: number; change: number }
  | { kind: "rows"; shape: [vocabulary: number, width: number] };

/** Two lists of texts, paired by place; or repeng's form, in which personas say suffixes, each cut after every
 * token, in a template with `{persona}` and `{suffix}`. */
export type VectorOptions = {
  name?: string;
  /** Blocks, as `8-14`; the middle ones unless given. */
  layers?: string;
  method?: "mean" | "pca-diff" | "pca-center" | "probe";
  /** The mean over a text's tokens, or its last one. */
  at?: "mean" | "last";
  /** The strength of c = 1. */
  nats?: number;
  onProgress?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
} & (
  | { positive: string[]; negative: string[] }
  | { template: string; personas: { positive: string[]; negative: string[] }; suffixes: string[] }
);

export interface MadeVector {
  /** For `loadAdapter`. */
  files: AdapterFiles & { config: string; weights: Uint8Array };
  /** The same as repeng and llama.cpp keep it. */
  gguf: Uint8Array;
  /** The strength of c = 1. */
  calibration: { target_nats: number; positive: DoseSide };
  /** Where no length has the strength, how far was looked. */
  warnings: string[];
}

/** What is trained, on what, and how; see `steer train --help`. */
export interface TrainOptions {
  /** A method's `name`. */
  method: string;
  behaviour: string;
  /** The text of a file of contrasting answers or what it says; the shipped pairs unless given. */
  pairs?: string | object;
  pairsName?: string;
  templateVariables?: Record<string, unknown>;
  rank?: number;
  /** Blocks, as `9-20`. */
  layers?: string;
  /** Modules, as `v_proj,o_proj`; those that suit the method unless given. */
  modules?: string;
  /** Steps at most. */
  steps?: number;
  /** Pairs in a step. */
  batch?: number;
  /** The learning rate; the method's own unless given. */
  rate?: number;
  seed?: number;
  beta?: number;
  nll?: number;
  kl?: number;
  clip?: number;
  /** Steps between two looks at the stop rows; 0 for none. */
  checkEvery?: number;
  /** What `state()` gave of the same training, to go on from. */
  state?: Uint8Array;
  signal?: AbortSignal;
}

/** What the stop rows say. */
export interface TrainCheck {
  /** Mean d at c = −1, 0 and 1. */
  dNats: [number, number, number];
  orderedShare: number;
  /** At c = −1 and 1. */
  nllShiftNats: [number, number];
  isBest: boolean;
}

export interface TrainStep {
  /** Counted from 1. */
  step: number;
  /** The c at which it was made. */
  sign: number;
  /** The loss before it. */
  loss: number;
  /** The length of its gradient. */
  gradient: number;
  check: TrainCheck | null;
}

/** What a training takes, from its first step, which was computed and not made. */
export interface TrainEstimate {
  /** Steps to come. */
  steps: number;
  stepSeconds: number;
  /** Of all of them, looks at the stop rows included. */
  seconds: number;
  /** After that step: the module's heap never shrinks. */
  memory: Memory;
}

/** How an adapter came about. */
export interface TrainRecord {
  method: string;
  behaviour: string;
  pairsSha256: string;
  model: string;
  modelSha256: string | null;
  options: object;
  /** Numbers that were trained. */
  parameters: number;
  rate: number;
  steps: number;
  seconds: number | null;
  stopRows: TrainCheck | null;
  version: string;
}

/** A training under way. */
export interface Training extends AsyncIterable<TrainStep> {
  /** Computes the coming step without making it, to say beforehand how long all take, and how much memory. */
  estimate(): Promise<TrainEstimate>;
  /** Makes a step; `undefined` after the last one. */
  step(): Promise<TrainStep | undefined>;
  /** The adapter: the best state that the stop rows saw, else the last. For `loadAdapter`, and a folder of PEFT's. */
  files(): Promise<{ config: string; weights: Uint8Array; record: TrainRecord }>;
  /** All that is needed to go on later. */
  state(): Promise<Uint8Array>;
  readonly steps: number;
  /** Numbers that are trained. */
  readonly parameters: number;
  free(): void;
}

export interface Memory {
  wasmHeapBytes: number;
  wasmHeapPeakBytes: number;
  gpuBytes: number;
  gpuPeakBytes: number;
}
"#;
