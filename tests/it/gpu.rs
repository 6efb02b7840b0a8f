//! Every golden case on a GPU against the CPU: whatever native adapter there is, a software one will
//! do: `cargo xtask test` installs one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::tensor::Device;
use steering_playground::adapters::{self, Stack};
use steering_playground::arch::ModelFile;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device;
use steering_playground::extract::ControlVector;
use steering_playground::hooks::Steering;
use steering_playground::kernels::{Cut, Packed, launches};
use steering_playground::model::{GpuRoom, Positions, Weights};
use steering_playground::sample::Sampling;
use steering_playground::session::{CachePolicy, Request, Session, Step};
use steering_playground::weights::{
    ByteSource, Bytes, HostData, HostTensor, NativeFile, safetensors,
};

use crate::common::{adapter_files, golden_dir, lacks_gpu, logits, tiny, tiny_on, together};
use crate::golden::{cases, worst};

/// Logits of size ten; kernels sum in another order than the CPU.
const TOLERANCE: f32 = 5e-5;

/// c for each law, away from the numbers that would hide a factor.
const C: f32 = -0.7;

#[test]
fn every_law_of_every_method_is_the_same_on_a_gpu() {
    if lacks_gpu() {
        return;
    }
    let gpu = pollster::block_on(device::gpu()).expect("a GPU");
    let mut sessions: Vec<(String, [Session; 2])> = Vec::new();
    let mut failures = Vec::new();
    for case in cases() {
        if !sessions.iter().any(|(base, _)| *base == case.base) {
            let pair = [tiny(&case.base), tiny_on(&case.base, &gpu, Weights::Dense)];
            sessions.push((case.base.clone(), pair));
        }
        let found = sessions.iter().find(|(base, _)| *base == case.base);
        let [cpu, gpu] = &found.expect("just opened").1;
        let all = case.ids();
        let ids = &all[..2];
        let mut stacks = [cpu, gpu].map(|session| {
            let adapter = adapters::load(&case.files(), &session.model);
            let mut stack = Stack::default();
            stack.add(adapter.unwrap_or_else(|error| panic!("{}: {error}", case.name)));
            stack
        });
        let laws = stacks[0].entries()[0].adapter.laws.clone();
        for law in laws.iter().map(|offer| offer.law) {
            let mut run = |at: usize, session: &Session| {
                let stack = &mut stacks[at];
                stack.set_law(1, law).expect("offered");
                stack.set_coefficient(1, C).expect("in every domain");
                logits(session, ids, &stack.steering())
            };
            let apart = worst(&run(0, cpu), &run(1, gpu));
            if apart > TOLERANCE {
                failures.push(format!("{} under {law:?}: {apart:.1e} apart", case.name));
            }
        }
        let steered = stacks.each_mut().map(Stack::steering);
        let both = [(cpu, &steered[0]), (gpu, &steered[1])].map(|(session, steered)| {
            let base = Steering::base();
            let streams = [(3, &**steered), (2, &base), (3, &base)];
            together(session, &streams.map(|(n, steering)| (&all[..n], steering)))
        });
        let apart = worst(&both[0], &both[1]);
        if apart > TOLERANCE {
            failures.push(format!("{} in lockstep: {apart:.1e} apart", case.name));
        }
        let base = logits(gpu, ids, &Steering::base());
        stacks[1].set_coefficient(1, 0.0).expect("0");
        if logits(gpu, ids, &stacks[1].steering()) != base {
            failures.push(format!("{}: 0 is not the base, bit for bit", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every step of a stream whose coefficient is turned on the way, and whose cache is kept or computed
/// again; a number for each fact that may differ by rounding.
fn speak(session: &Session, request: &Request) -> (Vec<String>, Vec<f32>) {
    let mut generation = session.generate(request.clone()).expect("starts");
    let (mut facts, mut numbers) = (Vec::new(), Vec::new());
    for at in 0.. {
        let c = [0.0, 1.0, 1.0, 1.0, -2.0][at / 3 % 5];
        session
            .stack
            .borrow_mut()
            .set_coefficient(1, c)
            .expect("finite");
        let step = pollster::block_on(generation.next()).expect("steps");
        let Some(step) = step else { break };
        let Step::Token {
            steered,
            base,
            kl_nats,
            cache,
            top,
            coefficients,
            ..
        } = step
        else {
            continue;
        };
        for lane in [&steered, &base].into_iter().flatten() {
            numbers.push(lane.probability as f32);
        }
        let said = [steered, base].map(|lane| lane.map(|lane| (lane.id, lane.finish)));
        numbers.extend(kl_nats.map(|kl| kl as f32));
        let listed: Vec<u32> = top.iter().map(|candidate| candidate.id).collect();
        numbers.extend(top.iter().map(|candidate| candidate.steered as f32));
        numbers.extend(
            top.iter()
                .filter_map(|candidate| Some(candidate.base? as f32)),
        );
        let kl = kl_nats.is_some();
        facts.push(format!(
            "{said:?} {kl} {cache:?} {coefficients:?} {listed:?}"
        ));
    }
    (facts, numbers)
}

/// The GPU chooses tokens itself and runs ahead of us; nobody may notice.
#[test]
fn streams_on_a_gpu_say_what_those_on_the_cpu_say() {
    if lacks_gpu() {
        return;
    }
    let gpu = pollster::block_on(device::gpu()).expect("a GPU");
    let some = ["lora", "control_vector", "lora_tokens", "xlora", "prefix"];
    for case in cases().iter().filter(|case| some.contains(&&*case.name)) {
        let name = &case.name;
        let sessions = [tiny(&case.base), tiny_on(&case.base, &gpu, Weights::Dense)];
        for session in &sessions {
            let adapter = adapters::load(&case.files(), &session.model).expect("loads");
            let mut stack = session.stack.borrow_mut();
            *stack = Stack::default();
            stack.add(adapter);
        }
        for (compare, kl_after_split) in [(false, true), (true, true), (true, false)] {
            for (cache, temperature) in [
                (CachePolicy::Keep, 0.0),
                (CachePolicy::Keep, 1.2),
                // What is drawn does not ask where the cache came from, and this is the slowest way.
                (CachePolicy::Recompute, 0.0),
            ] {
                let request = Request {
                    ids: Some(vec![5, 9, 3, 17, 20]),
                    max_tokens: 20,
                    sampling: Sampling {
                        temperature,
                        top_p: 0.9,
                        repetition_penalty: 1.2,
                        seed: 4,
                        ..Sampling::default()
                    },
                    cache,
                    compare,
                    kl_after_split,
                    top: 4,
                    ..Request::default()
                };
                let [cpu, gpu] = sessions.each_ref().map(|session| speak(session, &request));
                let what = format!("{name}: {request:?}");
                assert_eq!(cpu.0, gpu.0, "{what}");
                let apart = worst(&cpu.1, &gpu.1);
                assert!(apart <= TOLERANCE, "{apart:.1e} apart: {what}");
            }
        }
    }
}

/// Launches for each block and token, two more where norms stand around attention and MLP; those of the layout
/// for a GPU in software, where a norm has its own. The README's table of families is made of it.
pub const LAUNCHES: [(&str, u64); 15] = [
    ("gemma", 8),
    ("gemma2", 10),
    ("gemma3", 10),
    ("gpt2", OVER_TENSORS),
    ("gpt_neox", OVER_TENSORS),
    ("granite", 8),
    ("granite4", 8),
    ("llama_rope_linear", 8),
    ("llama_rope_llama3", 8),
    ("llama_rope_yarn", 8),
    ("mistral_window8", 8),
    ("olmo2", 8),
    ("qwen2", 8),
    ("qwen3", 8),
    ("smollm3", 8),
];

/// Those of families that run over tensors: four products.
pub const OVER_TENSORS: u64 = 4;

/// Launches less for each block in the layout for hardware.
pub const FUSED: u64 = 2;

/// Of a pass of one token, besides its blocks: the embedding, the last norm and the head.
const OTHER_LAUNCHES: u64 = 3;

/// How far a GPU may be from transformers, in parts of the largest logit.
const OF_GOLDEN: f32 = 2e-4;

/// Adapters of each family that are compared: one for each kind of effect. A software GPU takes minutes
/// for all, and all of them are compared on a Llama.
const KINDS: [&str; 7] = [
    "lora",
    "dora",
    "ia3",
    "ln_tuning",
    "oft",
    "prefix",
    "prompt_tuning",
];

/// What transformers says, as far as it is asked here.
#[derive(serde::Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    logits_last: Vec<f32>,
}

/// The model's file in a folder, in whichever of the two formats it is there.
fn opened(folder: &Path) -> ModelFile<NativeFile> {
    let file = |name: &str| NativeFile::open(&folder.join(name)).expect("a file");
    let safetensors = folder.join("model.safetensors").exists();
    let config = fs::read(folder.join("config.json"))
        .ok()
        .filter(|_| safetensors);
    let opened = async {
        match config {
            Some(config) => {
                ModelFile::open_folder(&config, vec![file("model.safetensors")], None).await
            }
            None => ModelFile::open_gguf(file("model.gguf")).await,
        }
    };
    pollster::block_on(opened).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn model(folder: &Path, device: &Device) -> Session {
    loaded(&opened(folder), device)
}

fn loaded<S: ByteSource>(file: &ModelFile<S>, device: &Device) -> Session {
    let load = Session::load(file, None, device, Weights::Dense, |_| {});
    pollster::block_on(load).unwrap_or_else(|error| panic!("{error}"))
}

/// The rows of a matrix and the width of one.
type Rows = (Vec<Vec<f32>>, usize);

/// More rows of zeros.
fn lower((mut rows, width): Rows, by: usize) -> Rows {
    rows.extend(vec![vec![0.0; width]; by]);
    (rows, width)
}

/// Rows with more zeros at their ends.
fn wider((mut rows, width): Rows, by: usize) -> Rows {
    for row in &mut rows {
        row.resize(width + by, 0.0);
    }
    (rows, width + by)
}

/// The tiny model of a family with zeros around its weights, so that every width is one of the kernels', which the
/// tiny ones' are not: it says the same. `None` for those that run over tensors whatever their widths.
fn widened(folder: &Path) -> Option<ModelFile<Bytes>> {
    // Numbers between gate and down, and heads of queries, so that their rows are whole blocks of 32.
    const MORE: usize = 16;
    let config = fs::read(folder.join("config.json")).ok()?;
    let mut config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
    let number = |config: &serde_json::Value, key: &str| config[key].as_u64().map(|n| n as usize);
    number(&config, "intermediate_size")?;
    if config["model_type"] == "gpt_neox" {
        return None;
    }
    let heads = number(&config, "num_attention_heads").expect("a number");
    let hidden = number(&config, "hidden_size").expect("a number");
    let head = number(&config, "head_dim").unwrap_or(hidden / heads);
    let more_heads = !(heads * head).is_multiple_of(32);
    for key in ["intermediate_size", "shared_intermediate_size"] {
        if let Some(width) = number(&config, key) {
            config[key] = (width + MORE).into();
        }
    }
    if more_heads {
        config["head_dim"] = head.into();
        for key in ["num_attention_heads", "num_key_value_heads"] {
            config[key] = (2 * number(&config, key).expect("a number")).into();
        }
    }
    let bytes = fs::read(folder.join("model.safetensors")).ok()?;
    let mut tensors = safetensors::read_all("model.safetensors", &bytes).expect("reads");
    for (key, tensor) in &mut tensors {
        let [_, width] = tensor.shape[..] else {
            continue;
        };
        let HostData::Float(values) = &tensor.data else {
            continue;
        };
        let rows: Rows = (values.chunks(width).map(<[f32]>::to_vec).collect(), width);
        let many = rows.0.len();
        let is = |names: &[&str]| {
            names
                .iter()
                .any(|name| key.ends_with(&format!("{name}.weight")))
        };
        let (rows, width) = if is(&["gate_proj", "up_proj"]) {
            lower(rows, MORE)
        } else if is(&["mlp.down_proj", "shared_mlp.output_linear"]) {
            wider(rows, MORE)
        } else if is(&["shared_mlp.input_linear"]) {
            let (gate, up) = rows.0.split_at(many / 2);
            let both = [gate, up].map(|half| lower((half.to_vec(), width), MORE).0);
            (both.concat(), width)
        } else if more_heads && is(&["q_proj", "k_proj", "v_proj"]) {
            lower(rows, many)
        } else if more_heads && is(&["o_proj"]) {
            wider(rows, width)
        } else {
            continue;
        };
        tensor.shape = vec![rows.len(), width];
        tensor.data = HostData::Float(rows.concat());
    }
    let bytes = safetensors::write("wide", &tensors, &[]).expect("writes");
    let file = Bytes {
        name: "model.safetensors".into(),
        bytes,
    };
    let config = config.to_string();
    let opened = ModelFile::open_folder(config.as_bytes(), vec![file], None);
    Some(pollster::block_on(opened).unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
}

/// A LoRA of some numbers on queries and on what attention gives, in all layers.
fn lora(session: &Session) -> AdapterFiles {
    const RANK: usize = 4;
    let config = session.model.config();
    let (d, q) = (config.hidden_size, config.q_width());
    let sides = [("q_proj", d, q), ("o_proj", q, d)];
    let mut tensors = BTreeMap::new();
    for layer in 0..config.num_layers {
        for (module, i, o) in sides {
            for (side, shape) in [("A", [RANK, i]), ("B", [o, RANK])] {
                let key = format!(
                    "base_model.model.model.layers.{layer}.self_attn.{module}.lora_{side}.weight"
                );
                let numbers =
                    (0..RANK * (i + o)).map(|at| ((at * 13 + layer) % 7) as f32 / 10.0 - 0.3);
                let numbers = numbers.take(shape[0] * shape[1]).collect();
                let data = HostData::Float(numbers);
                tensors.insert(
                    key,
                    HostTensor {
                        shape: shape.to_vec(),
                        data,
                    },
                );
            }
        }
    }
    let config =
        r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "o_proj"]}"#;
    AdapterFiles {
        name: "lora".into(),
        config: Some(config.into()),
        weights: safetensors::write("lora", &tensors, &[]).expect("writes"),
        ..AdapterFiles::default()
    }
}

/// A page chooses the device by these numbers, before a tensor is read.
#[test]
fn what_a_model_takes_on_a_gpu_is_told_by_its_table() {
    let floats = GpuRoom::of(&opened(&golden_dir().join("families/qwen3")));
    // Rows of 48 numbers are no whole blocks.
    assert_eq!(floats.f32_formats, ["BF16"]);
    assert_eq!(floats.f32_bytes, 3 * 4 * 32 * 48);
    let gguf = ModelFile::open_gguf(
        NativeFile::open(&golden_dir().join("base_quantised/model.gguf")).expect("a file"),
    );
    let mixed = pollster::block_on(gguf).expect("opens");
    // 36 bytes for 32 numbers of Q8_0, the table and the first block; 20 for those of Q4_1, the second.
    let expected = GpuRoom {
        total_bytes: (4096 + 30_720) / 32 * 36 + 30_720 / 32 * 20,
        largest_bytes: 2 * 96 * 64,
        largest: "model.layers.0.mlp.gate_proj.weight".into(),
        ..GpuRoom::default()
    };
    assert_eq!(GpuRoom::of(&mixed), expected);
    assert_eq!(mixed.formats(), ["Q8_0", "Q4_1"]);
    assert_eq!(
        mixed.parameters(),
        opened(&golden_dir().join("base_quantised")).parameters()
    );
}

#[test]
fn what_a_model_takes_on_a_gpu_is_what_its_table_told() {
    if lacks_gpu() {
        return;
    }
    let gpu = pollster::block_on(device::gpu()).expect("a GPU");
    let mut all = folders(&golden_dir().join("families"));
    // `weight_bytes` counts neither what stands for positions nor the parts of one product.
    let apart = ["adapters", "gpt2", "gpt_neox"];
    all.retain(|folder| !apart.iter().any(|name| folder.ends_with(name)));
    assert!(all.len() > 10, "{all:?}");
    for folder in all {
        let file = opened(&folder);
        let room = GpuRoom::of(&file);
        let loaded = model(&folder, &gpu).model;
        // It counts the head, and biases; a table that is no head is beside it.
        let config = loaded.config();
        let table = if config.tie_word_embeddings {
            0
        } else {
            let kind = file.kind("model.embed_tokens.weight").expect("a table");
            Packed::foresee(&[kind], [config.vocab_size, config.hidden_size]).bytes
        };
        let found = loaded.weight_bytes() + table;
        let apart = found.abs_diff(room.total_bytes);
        assert!(
            apart * 100 < room.total_bytes,
            "{}: {found} bytes, foreseen {room:?}",
            folder.display()
        );
    }
}

/// The folders in a folder, by name; none if it is not there.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Logits of a text, and of three streams that start with it.
fn numbers(session: &Session, ids: &[u32], steering: &Steering) -> Vec<f32> {
    let base = Steering::base();
    let streams = [(ids.len(), steering), (2, &base), (13, &base)];
    let streams = streams.map(|(n, steering)| (&ids[..n], steering));
    let mut numbers = logits(session, ids, steering);
    numbers.extend(together(session, &streams[..1]));
    numbers.extend(together(session, &streams));
    numbers
}

/// A step in every block of the model.
fn steps(session: &Session) -> AdapterFiles {
    let config = session.model.config();
    let step = |layer: usize| {
        let numbers = (0..config.hidden_size).map(|at| ((at * 7 + layer) % 5) as f32 / 5.0 - 0.4);
        (layer, numbers.collect())
    };
    let vector = ControlVector {
        model_hint: String::new(),
        directions: (0..config.num_layers).map(step).collect(),
    };
    AdapterFiles {
        name: "steps".into(),
        config: Some(vector.config().into()),
        weights: vector.safetensors().expect("writes"),
        ..AdapterFiles::default()
    }
}

/// What a token launches.
fn launched(session: &Session, ids: &[u32], steering: &Steering) -> u64 {
    let mut cache = session.model.new_cache();
    let mut pass = |ids: &[u32]| {
        let before = launches();
        let pass = session
            .model
            .forward(ids, &mut cache, steering, Positions::Last);
        pass.expect("runs");
        launches() - before
    };
    pass(ids);
    pass(&ids[..1])
}

/// How far two runs are apart, in parts of the largest number.
fn apart(found: [&[f32]; 2]) -> f32 {
    let largest = found[0].iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    worst(found[0], found[1]) / largest
}

/// Adapters of these files at a coefficient, for both sessions.
fn steered(sessions: &[Session; 2], files: &AdapterFiles, c: f32) -> [Rc<Steering>; 2] {
    sessions.each_ref().map(|session| {
        let mut stack = Stack::default();
        stack.add(adapters::load(files, &session.model).expect("loads"));
        stack.set_coefficient(1, c).expect("finite");
        stack.steering()
    })
}

/// What is compared of a family, and what of it fails.
struct Family<'a> {
    name: &'a str,
    folder: &'a Path,
    ids: &'a [u32],
    failures: &'a mut Vec<String>,
}

impl Family<'_> {
    fn within(&mut self, apart: f32, most: f32, what: &str) {
        println!("{}, {what}: {apart:.1e}", self.name);
        if apart.is_nan() || apart > most {
            let told = format!("{}, {what}: {apart:.1e} apart", self.name);
            self.failures.push(told);
        }
    }

    /// Both are made of one block: what transformers says stands beside them.
    fn golden(&mut self, session: &Session, layout: &str) {
        let golden = fs::read(self.folder.join("expected.json")).expect("expected.json");
        let golden: Golden = serde_json::from_slice(&golden).expect("JSON");
        let found = logits(session, &golden.tokens, &Steering::base());
        let last = &found[found.len() - golden.logits_last.len()..];
        let apart = apart([&golden.logits_last, last]);
        self.within(apart, OF_GOLDEN, &format!("transformers{layout}"));
    }

    /// Both sessions, in parts of the largest logit.
    fn same(&mut self, sessions: &[Session; 2], steering: [&Steering; 2], what: &str) {
        let found = [0, 1].map(|at| numbers(&sessions[at], self.ids, steering[at]));
        self.within(apart([&found[0], &found[1]]), TOLERANCE, what);
    }

    /// So many launches for each block of a token's pass.
    fn launches(&mut self, session: &Session, steering: &Steering, each: u64, what: &str) {
        let config = session.model.config();
        // There is no kernel for LayerNorm.
        let others = OTHER_LAUNCHES - u64::from(config.layer_norm);
        let expected = each * config.num_layers as u64 + others;
        let found = launched(session, self.ids, steering);
        if found != expected {
            let told = format!("{}, {what}: {found} launches, not {expected}", self.name);
            self.failures.push(told);
        }
    }
}

/// Of a family of the goldens, by [`LAUNCHES`].
fn launches_of(name: &str) -> u64 {
    let mut known = LAUNCHES.iter();
    known.find(|(family, _)| *family == name).expect("a row").1
}

/// Over tensors: the base, a step in every block, and every adapter of the goldens at c = ±1.
#[test]
fn every_family_is_the_same_on_a_gpu() {
    if lacks_gpu() {
        return;
    }
    let device = pollster::block_on(device::gpu()).expect("a GPU");
    let families = golden_dir().join("families");
    let ids: Vec<u32> = (0..24).map(|at| (at * 37 + 3) % 150).collect();
    let mut failures = Vec::new();
    for folder in folders(&families) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if name == "adapters" {
            continue;
        }
        let sessions = [device::cpu(), device.clone()].map(|device| model(&folder, &device));
        let mut family = Family {
            name: &name,
            folder: &folder,
            ids: &ids,
            failures: &mut failures,
        };
        family.golden(&sessions[1], "");
        let base = Steering::base();
        family.same(&sessions, [&base, &base], "base");
        let launches = launches_of(&name);
        // Those of the others are of their kernels, which these widths do not run.
        if launches == OVER_TENSORS {
            family.launches(&sessions[1], &base, launches, "base");
        }
        let of_base = families.join("adapters").join(&*name);
        let adapters = KINDS.map(|kind| of_base.join(kind));
        let adapters = adapters.iter().filter(|folder| folder.exists());
        let files = adapters.map(|adapter| adapter_files(adapter));
        for files in std::iter::once(steps(&sessions[0])).chain(files) {
            for c in [1.0, -1.0] {
                let steering = steered(&sessions, &files, c);
                let what = format!("{} at {c}", files.name);
                family.same(&sessions, [&steering[0], &steering[1]], &what);
                if launches == OVER_TENSORS && what == "steps at 1" {
                    family.launches(&sessions[1], &steering[1], launches, &what);
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Over the kernels, at widths that are theirs: the base and a step in every block, which costs no launch, a LoRA,
/// norms and prefixes; and, in two families, all of it in the layout for hardware, where the product of a few
/// tokens takes the norm that it reads itself: two launches less for each block.
#[test]
fn every_family_is_the_same_over_the_kernels() {
    if lacks_gpu() {
        return;
    }
    let device = pollster::block_on(device::gpu()).expect("a GPU");
    let families = golden_dir().join("families");
    let ids: Vec<u32> = (0..24).map(|at| (at * 37 + 3) % 150).collect();
    let mut failures = Vec::new();
    let mut seen = 0;
    for folder in folders(&families) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let Some(file) = widened(&folder) else {
            continue;
        };
        seen += 1;
        let mut sessions = [device::cpu(), device.clone()].map(|device| loaded(&file, &device));
        let of_base = families.join("adapters").join(&*name);
        let adapters = ["ln_tuning", "prefix"].map(|kind| of_base.join(kind));
        let adapters = adapters.iter().filter(|folder| folder.exists());
        let files: Vec<_> = [steps(&sessions[0]), lora(&sessions[0])]
            .into_iter()
            .chain(adapters.map(|adapter| adapter_files(adapter)))
            .collect();
        let hardware = ["gemma3", "qwen2"].contains(&&*name);
        for (layout, fused) in [("", 0), (", for hardware", FUSED)] {
            if fused > 0 {
                if !hardware {
                    continue;
                }
                let model = Rc::get_mut(&mut sessions[1].model).expect("one owner");
                model.lay_out(Cut::HARDWARE);
            }
            let mut family = Family {
                name: &name,
                folder: &folder,
                ids: &ids,
                failures: &mut failures,
            };
            let each = launches_of(&name) - fused;
            family.golden(&sessions[1], layout);
            let base = Steering::base();
            let what = format!("base{layout}");
            family.same(&sessions, [&base, &base], &what);
            family.launches(&sessions[1], &base, each, &what);
            for files in &files {
                let steering = steered(&sessions, files, -1.0);
                let what = format!("{}{layout}", files.name);
                family.same(&sessions, [&steering[0], &steering[1]], &what);
                if files.name == "steps" {
                    family.launches(&sessions[1], &steering[1], each, &what);
                }
            }
        }
    }
    assert!(seen >= 10, "{seen} families");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
