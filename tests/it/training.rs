//! Training every method on a tiny model: gradients against differences, through quantised weights, steps,
//! states, and what is written.

use std::collections::BTreeMap;
use std::fs;

use pollster::block_on;
use serde_json::{Value, json};
use steering_playground::adapters;
use steering_playground::checkpoint::{AdapterFiles, Method, Trains};
use steering_playground::device;
use steering_playground::dose::Contrast;
use steering_playground::error::Error;
use steering_playground::hooks::Steering;
use steering_playground::methods::METHODS;
use steering_playground::model::Weights;
use steering_playground::session::Session;
use steering_playground::text::Variables;
use steering_playground::train::{Passes, TrainOptions, Trainer};
use steering_playground::weights::{HostData, HostTensor};

use crate::common::{lacks_gpu, logits, reading, tiny, tiny_on, tiny_quantised, tiny_quantised_on};
use crate::session::log_softmax;

fn contrast() -> Contrast {
    let row = |prompt: &str, positive: &str, negative: &str, split: &str| json!({ "prompt": prompt, "positive": positive, "negative": negative, "split": split });
    let file = json!({
        "kind": [
            row("A1!", "B2)", "7(", "train"),
            row("A1?", "!", "9B8", "train"),
            row("(B)", "2!", "B", "train"),
            row("A7", "B!", "9(", "train"),
            row("A2", "2)", "7B", "stop"),
        ],
        "neutral": [
            { "prompt": "(A)", "completion": "B1)" },
            { "prompt": "(7", "completion": "!!B" },
        ],
    });
    Contrast::read("mine.json", file.to_string().as_bytes(), "kind").expect("pairs")
}

fn options() -> TrainOptions {
    TrainOptions {
        rank: 2,
        steps: 20,
        check_every: 0,
        seed: 3,
        ..TrainOptions::default()
    }
}

fn trainer(
    session: &Session,
    contrast: &Contrast,
    method: &str,
    options: &TrainOptions,
) -> Trainer {
    let variables = Variables::new();
    let made = Trainer::new(session, contrast, method, options, &variables);
    block_on(made).unwrap_or_else(|error| panic!("{method}: {error}"))
}

fn of_several(
    session: &Session,
    contrasts: &[Contrast],
    method: &str,
    experts: &[AdapterFiles],
    options: &TrainOptions,
) -> Result<Trainer, Error> {
    let variables = Variables::new();
    let made = Trainer::of_several(session, contrasts, method, experts, options, &variables);
    block_on(made)
}

fn trained() -> impl Iterator<Item = &'static Method> {
    let trains = |method: &&Method| matches!(method.trains, Trains::From { .. });
    METHODS.iter().copied().filter(trains)
}

fn floats(tensor: &HostTensor) -> &[f32] {
    match &tensor.data {
        HostData::Float(values) => values,
        HostData::Int(_) => panic!("parameters are floats"),
    }
}

/// The loss of the coming step, as a loaded adapter has it, is the one that is differentiated, and its slope
/// along the gradient is the gradient's length.
fn gradient_is_slope(name: &str, trainer: &Trainer) {
    let numbers = block_on(trainer.numbers()).expect(name);
    let (loss, gradients) = block_on(trainer.gradients()).expect(name);
    let plain = block_on(trainer.loss_of(numbers.clone())).expect(name);
    assert!(
        (loss - plain).abs() < 1e-5 * loss.abs().max(1.0),
        "{name}: {loss} with leaves, {plain} without"
    );
    let whole = length(gradients.values().flatten().copied());
    assert!(whole > 1e-5, "{name} has no gradient");
    let moved = |by: f32| {
        let at = |(key, tensor): (&String, &HostTensor)| {
            let each = floats(tensor).iter().zip(&gradients[key]);
            let values = each.map(|(x, g)| x + by * g / whole).collect();
            let tensor = HostTensor {
                shape: tensor.shape.clone(),
                data: HostData::Float(values),
            };
            (key.clone(), tensor)
        };
        let numbers: BTreeMap<_, _> = numbers.iter().map(at).collect();
        f64::from(block_on(trainer.loss_of(numbers)).expect(name))
    };
    // Two steps and Richardson's rule: the error of the third derivative falls out.
    let slope = |step: f32| (moved(step) - moved(-step)) / f64::from(2.0 * step);
    let step = 1e-2;
    let slope = (4.0 * slope(step / 2.0) - slope(step)) / 3.0;
    let apart = (slope - f64::from(whole)).abs();
    assert!(
        apart < 2e-2 * f64::from(whole) + 1e-4,
        "{name}: {whole} by the graph, {slope} by differences"
    );
}

fn length(x: impl Iterator<Item = f32>) -> f32 {
    x.map(|x| x * x).sum::<f32>().sqrt()
}

/// As many as are promised; the others say why not.
#[test]
fn thirty_methods_train() {
    assert!(trained().count() >= 30, "{} train", trained().count());
    for method in METHODS {
        if let Trains::Not(why) = method.trains {
            assert!(why.len() > 20, "{}: {why}", method.name);
        }
    }
}

/// Twenty steps: every parameter gets a gradient and moves, the loss falls by a tenth at least, and what
/// is written and loaded again computes what was trained. Prints the table.
#[test]
fn every_method_trains() {
    let session = reading(tiny("base"));
    let contrast = contrast();
    println!("| method | numbers | loss before | after 20 steps |\n|---|---|---|---|");
    for method in trained() {
        let name = method.name;
        let mut trainer = trainer(&session, &contrast, name, &options());
        let before = block_on(trainer.numbers()).expect(name);
        let mut losses = Vec::new();
        while !trainer.is_done() {
            let step = block_on(trainer.step());
            losses.push(step.unwrap_or_else(|error| panic!("{name}: {error}")).loss);
        }
        let after = block_on(trainer.numbers()).expect(name);
        for (key, now) in &after {
            assert_ne!(&before[key], now, "{name}: {key} did not move");
        }
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (first, last) = (mean(&losses[..4]), mean(&losses[16..]));
        println!(
            "| {name} | {} | {first:.3} | {last:.3} |",
            trainer.parameters()
        );
        assert!(last < 0.9 * first, "{name}: {losses:?}");

        let files = block_on(trainer.files()).expect(name);
        let files = AdapterFiles {
            name: name.into(),
            config: Some(files.config.into_bytes()),
            weights: files.weights,
            ..AdapterFiles::default()
        };
        let adapter = adapters::load(&files, &session.model);
        let adapter = adapter.unwrap_or_else(|error| panic!("{name} is not read: {error}"));
        assert_eq!(adapter.method.name, name, "read as what it is");
        let law = adapter.laws[0].law;
        let placed = adapter.placed.iter();
        let steering = Steering::of(placed.flat_map(|placed| placed.effects(law, 1.0)));
        let base = logits(&session, &[3, 9, 12, 40], &Steering::base());
        let steered = logits(&session, &[3, 9, 12, 40], &steering);
        assert_ne!(base, steered, "{name}: the file does nothing");
    }
}

/// Behaviours become the tasks of the methods that have tasks: the loss of each falls, every task is loaded as
/// one that acts, all parameters move, and an interrupted training goes on. One behaviour is a training as ever.
#[test]
fn behaviours_become_tasks() {
    let session = reading(tiny("base"));
    let kind = contrast();
    let mut terse = kind.clone();
    terse.name = "terse".into();
    for pair in &mut terse.pairs {
        pair.prompt.push('7');
        pair.positive = format!("9{}", pair.positive);
    }
    let both = [kind.clone(), terse];
    let options = TrainOptions {
        steps: 40,
        ..options()
    };
    let several = |contrasts: &[Contrast], method: &str| {
        of_several(&session, contrasts, method, &[], &options)
    };
    for name in ["poly", "multitask_prompt_tuning"] {
        let mut trainer = several(&both, name).expect(name);
        let before = block_on(trainer.numbers()).expect(name);
        let mut losses = [Vec::new(), Vec::new()];
        while !trainer.is_done() {
            let at = trainer.steps();
            let step = block_on(trainer.step()).expect(name);
            losses[at % 2].push(step.loss);
            if at == 20 {
                let state = block_on(trainer.state()).expect("a state");
                trainer = several(&both, name).expect(name);
                trainer.resume(&state).expect("the same training");
                let mut one = several(&both[..1], name).expect(name);
                assert!(one.resume(&state).is_err(), "{name}: of one behaviour");
            }
        }
        let after = block_on(trainer.numbers()).expect(name);
        for (key, now) in &after {
            assert_ne!(&before[key], now, "{name}: {key} did not move");
        }
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        for losses in &losses {
            let (first, last) = (mean(&losses[..4]), mean(&losses[16..]));
            println!("{name}: {first:.3}, then {last:.3}");
            assert!(last < first, "{name}: {losses:?}");
        }
        let files = block_on(trainer.files()).expect(name);
        assert_eq!(files.record.behaviours, ["kind", "terse"]);
        assert_eq!(files.record.behaviour, "kind, terse");
        let loaded = |task: Option<usize>| {
            let files = AdapterFiles {
                config: Some(files.config.clone().into_bytes()),
                weights: files.weights.clone(),
                task,
                ..AdapterFiles::default()
            };
            let adapter = adapters::load(&files, &session.model)?;
            let law = adapter.laws[0].law;
            let placed = adapter.placed.iter();
            let steering = Steering::of(placed.flat_map(|placed| placed.effects(law, 1.0)));
            Ok::<_, Error>(logits(&session, &[3, 9, 12, 40], &steering))
        };
        let base = logits(&session, &[3, 9, 12, 40], &Steering::base());
        let [first, second] = [0, 1].map(|task| loaded(Some(task)).expect(name));
        assert_ne!(first, second, "{name}: the tasks are the same");
        assert!(first != base && second != base, "{name} does nothing");
        assert!(loaded(None).is_err(), "{name}: a task must be chosen");
    }
    let weights = |trainer: &Trainer| block_on(trainer.files()).expect("files").weights;
    let one = several(&both[..1], "poly").expect("one");
    assert!(weights(&one) == weights(&trainer(&session, &kind, "poly", &options)));
    let refused = several(&both, "lora").err().expect("no tasks").to_string();
    assert!(refused.contains("no tasks"), "{refused}");
    assert!(several(&[], "poly").is_err());
}

/// A gate over two trained LoRAs: its gradient is the loss's slope, also where the weights stay quantised, its
/// numbers move, the experts' do not, and it is loaded with them.
#[test]
fn a_gate_is_trained_over_experts() {
    let session = reading(tiny("base"));
    let kind = contrast();
    let mut other = kind.clone();
    other.name = "other".into();
    for pair in &mut other.pairs {
        pair.prompt.push('B');
        std::mem::swap(&mut pair.positive, &mut pair.negative);
    }
    let both = [kind, other];
    let of = |session: &Session| {
        both.each_ref().map(|contrast| {
            let mut trainer = trainer(session, contrast, "lora", &options());
            while !trainer.is_done() {
                block_on(trainer.step()).expect("a step");
            }
            let files = block_on(trainer.files()).expect("files");
            AdapterFiles {
                config: Some(files.config.into_bytes()),
                weights: files.weights,
                ..AdapterFiles::default()
            }
        })
    };
    let experts = of(&session);
    let options = TrainOptions {
        rate: Some(0.05),
        steps: 40,
        ..options()
    };
    let begun = |session: &Session, experts: &[AdapterFiles]| {
        of_several(session, &both, "xlora", experts, &options).expect("a gate")
    };
    let mut trainer = begun(&session, &experts);
    for _ in 0..2 {
        gradient_is_slope("xlora", &trainer);
        block_on(trainer.step()).expect("a step");
    }
    let before = block_on(trainer.numbers()).expect("numbers");
    assert_eq!(before.len(), 2, "one linear layer");
    while !trainer.is_done() {
        block_on(trainer.step()).expect("a step");
    }
    for (key, now) in &block_on(trainer.numbers()).expect("numbers") {
        assert_ne!(&before[key], now, "{key} did not move");
    }
    let files = block_on(trainer.files()).expect("files");
    let whole = AdapterFiles {
        config: Some(files.config.into_bytes()),
        weights: files.weights,
        experts: experts.to_vec(),
        ..AdapterFiles::default()
    };
    let adapter = adapters::load(&whole, &session.model).expect("it is read");
    let law = adapter.laws[0].law;
    let effects = |c: f32| {
        let placed = adapter.placed.iter();
        let steering = Steering::of(placed.flat_map(|placed| placed.effects(law, c)));
        logits(&session, &[3, 9, 12, 40], &steering)
    };
    assert_ne!(effects(1.0), effects(-1.0));

    let sessions =
        [Weights::Dense, Weights::Quantised].map(|weights| reading(tiny_quantised(weights)));
    let same = of(&sessions[0]);
    let gradients = sessions.each_ref().map(|session| {
        let trainer = begun(session, &same);
        block_on(trainer.gradients()).expect("gradients").1
    });
    let pairs = || {
        let [expected, found] = gradients.each_ref().map(|it| it.values().flatten());
        expected.zip(found)
    };
    let apart = length(pairs().map(|(a, b)| a - b));
    let whole = length(pairs().map(|(a, _)| *a));
    assert!(apart < 1e-2 * whole, "{apart} of {whole}");

    let refused = |experts: &[AdapterFiles], method: &str| {
        let made = of_several(&session, &both[..1], method, experts, &options);
        made.err().expect("refused").to_string()
    };
    assert!(refused(&[], "xlora").contains("trained already"));
    assert!(refused(&experts, "lora").contains("mixes none"));
}

/// Each task has its own gradient: what is a task's own does not move in a step of another.
#[test]
fn a_step_of_one_task_leaves_the_others_alone() {
    let session = reading(tiny("base"));
    let both = [contrast(), contrast()];
    let mut trainer = of_several(&session, &both, "poly", &[], &options()).expect("poly");
    // With B = 0 the router has no gradient yet.
    for _ in 0..2 {
        block_on(trainer.step()).expect("a step");
    }
    for task in [0, 1] {
        gradient_is_slope("poly", &trainer);
        let (_, gradients) = block_on(trainer.gradients()).expect("gradients");
        for (key, gradient) in &gradients {
            if key.ends_with("module_logits") {
                let (own, other) = gradient.split_at(gradient.len() / 2);
                let (own, other) = if task == 0 {
                    (own, other)
                } else {
                    (other, own)
                };
                assert!(length(own.iter().copied()) > 0.0, "{key}: task {task}");
                assert!(other.iter().all(|x| *x == 0.0), "{key}: {gradient:?}");
            }
        }
        block_on(trainer.step()).expect("a step");
    }
}

#[test]
fn gradients_are_slopes() {
    let session = reading(tiny("base"));
    let contrast = contrast();
    for method in trained() {
        let name = method.name;
        let mut trainer = trainer(&session, &contrast, name, &options());
        // Away from the start, where some gradients are 0.
        for _ in 0..2 {
            block_on(trainer.step()).expect(name);
        }
        gradient_is_slope(name, &trainer);
    }
}

/// Weights that stay quantised are constants to every method's gradient.
#[test]
fn gradients_pass_quantised_weights() {
    let [dense, packed] =
        [Weights::Dense, Weights::Quantised].map(|weights| reading(tiny_quantised(weights)));
    let contrast = contrast();
    for method in trained() {
        let name = method.name;
        let gradients = |session| {
            let trainer = trainer(session, &contrast, name, &options());
            block_on(trainer.gradients()).expect(name).1
        };
        let (expected, found) = (gradients(&dense), gradients(&packed));
        let pairs = || expected.values().flatten().zip(found.values().flatten());
        let apart = length(pairs().map(|(a, b)| a - b));
        let whole = length(pairs().map(|(a, _)| *a));
        assert!(apart < 1e-2 * whole, "{name}: {apart} of {whole}");
    }
}

/// The same seed gives the same bytes, and so does a training that was interrupted.
#[test]
fn trainings_repeat_and_resume() {
    let session = reading(tiny("base"));
    let contrast = contrast();
    let options = TrainOptions {
        check_every: 7,
        ..options()
    };
    let run = |trainer: &mut Trainer, steps: usize| {
        while trainer.steps() < steps && !trainer.is_done() {
            block_on(trainer.step()).expect("a step");
        }
    };
    let weights = |trainer: &Trainer| block_on(trainer.files()).expect("files").weights;
    for name in ["lora", "ia3", "bipo"] {
        let mut whole = trainer(&session, &contrast, name, &options);
        run(&mut whole, 20);
        let mut again = trainer(&session, &contrast, name, &options);
        run(&mut again, 9);
        let state = block_on(again.state()).expect("a state");
        let mut resumed = trainer(&session, &contrast, name, &options);
        resumed.resume(&state).expect("the same training");
        assert_eq!(resumed.steps(), 9);
        run(&mut resumed, 20);
        assert!(weights(&whole) == weights(&resumed), "{name}: other bytes");
        let other = TrainOptions {
            seed: 4,
            ..options.clone()
        };
        let mut other = trainer(&session, &contrast, name, &other);
        let error = other.resume(&state).expect_err("another training");
        assert!(error.to_string().contains("the same training"), "{error}");
    }
}

/// The steps that `convert/train_peft.py` makes with PyTorch from the same numbers, as
/// `tests/golden/training.py` wrote them down: loss, gradient, all parameters.
#[test]
fn steps_equal_pytorch() {
    let session = reading(tiny("base"));
    let golden = fs::read("tests/golden/training.json").expect("a golden file");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let pairs = golden["pairs"].to_string().into_bytes();
    let contrast = Contrast::read("pairs.json", &pairs, "kind").expect("pairs");
    let numbers = |from: &Value| -> BTreeMap<String, HostTensor> {
        let tensor = |(key, tensor): (&String, &Value)| {
            let list = |field: &str| tensor[field].as_array().expect("a list").iter();
            let shape = list("shape").filter_map(Value::as_u64);
            let values = list("values").filter_map(Value::as_f64);
            let tensor = HostTensor {
                shape: shape.map(|n| n as usize).collect(),
                data: HostData::Float(values.map(|x| x as f32).collect()),
            };
            (key.clone(), tensor)
        };
        from.as_object()
            .expect("numbers")
            .iter()
            .map(tensor)
            .collect()
    };
    let apart = |a: &BTreeMap<String, HostTensor>, b: &BTreeMap<String, HostTensor>| {
        let pairs = a.iter().zip(b);
        length(pairs.flat_map(|((key, a), (other, b))| {
            assert_eq!(key, other, "the same parameters");
            floats(a).iter().zip(floats(b)).map(|(a, b)| a - b)
        }))
    };
    for (method, case) in golden["cases"].as_object().expect("cases") {
        let options = serde_json::from_value(case["options"].clone()).expect("options");
        let mut trainer = trainer(&session, &contrast, method, &options);
        let begin = numbers(&case["begin"]);
        trainer.begin_from(&begin).expect("the same parameters");
        for (at, expected) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let step = block_on(trainer.step()).expect(method);
            let limit = if at == 0 { 1e-4 } else { 1e-3 };
            assert_eq!(
                json!(step.sign),
                expected["sign"],
                "{method}: the same draws"
            );
            for (name, found) in [("loss", f64::from(step.loss)), ("gradient", step.gradient)] {
                let wanted = expected[name].as_f64().expect("a number");
                let wrong = (found - wanted).abs() / wanted;
                assert!(
                    wrong < limit,
                    "{method}, step {at}: {name} {found}, not {wanted}"
                );
            }
            let wanted = numbers(&expected["numbers"]);
            let found = block_on(trainer.numbers()).expect(method);
            let share = apart(&found, &wanted) / apart(&begin, &wanted);
            println!("{method}, step {at}: {share:.1e} of the way apart");
            assert!(
                f64::from(share) < limit,
                "{method}, step {at}: {share} of the way"
            );
        }
    }
}

/// A step that is measured moves nothing; a clock of one second at each look tells the sum.
#[test]
fn what_it_takes_is_told_before() {
    let session = reading(tiny("base"));
    let contrast = contrast();
    let clock = || {
        let time = std::cell::Cell::new(0.0);
        move || time.replace(time.get() + 1.0)
    };
    let told = |every: usize, steps: usize, made: usize| {
        let options = TrainOptions {
            check_every: every,
            steps,
            ..options()
        };
        let mut trainer = trainer(&session, &contrast, "lora", &options);
        for _ in 0..made {
            block_on(trainer.step()).expect("a step");
        }
        let before = block_on(trainer.numbers()).expect("numbers");
        let found = block_on(trainer.estimate(9.0, clock())).expect("an estimate");
        assert_eq!(block_on(trainer.numbers()).expect("numbers"), before);
        (found.steps, found.step_seconds, found.seconds)
    };
    // Four pairs and one of the two neutral answers are read in 9 s; a look reads one pair and one neutral
    // answer at three coefficients, in 9 s.
    assert_eq!(told(0, 20, 0), (20, 1.0, 20.0));
    assert_eq!(told(12, 20, 0), (20, 1.0, 38.0));
    assert_eq!(told(12, 24, 0), (24, 1.0, 42.0));
    assert_eq!(told(3, 6, 4), (2, 1.0, 11.0));
}

/// A pass that is timed computes what it says: the mean −ln p of all next tokens, of the base where the
/// adapter is as it begins.
#[test]
fn a_timed_pass_asks_for_all_next_tokens() {
    let session = tiny("base");
    let texts = [vec![3, 9, 12, 40, 77], vec![5, 8, 2, 61, 30]];
    let mut surprises = Vec::new();
    for text in &texts {
        let logits = logits(&session, &text[..4], &Steering::base());
        let rows = logits.chunks(logits.len() / 4).zip(&text[1..]);
        surprises.extend(rows.map(|(row, &next)| -log_softmax(row)[next as usize]));
    }
    let expected = surprises.iter().sum::<f64>() / surprises.len() as f64;
    let passes = Passes::new(&session.model, "lora", &options(), &texts).expect("passes");
    let found = f64::from(block_on(passes.run()).expect("a pass"));
    assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
    let short = Passes::new(&session.model, "lora", &options(), &[vec![3]]);
    assert!(matches!(short, Err(Error::EmptyPrompt)));
}

/// What cannot be trained is refused with what to do.
#[test]
fn refusals_name_the_option() {
    let session = reading(tiny("base"));
    let contrast = contrast();
    let refused = |method: &str, options: TrainOptions| {
        let variables = Variables::new();
        let made = Trainer::new(&session, &contrast, method, &options, &variables);
        match block_on(made) {
            Ok(_) => panic!("{method} is not refused"),
            Err(error) => error.to_string(),
        }
    };
    let with = |change: fn(&mut TrainOptions)| {
        let mut options = options();
        change(&mut options);
        options
    };
    for (method, options, word) in [
        ("xlora", options(), "mixes adapters"),
        ("nonsense", options(), "steer methods"),
        ("lora", with(|o| o.rank = 0), "rank"),
        ("lora", with(|o| o.batch = 0), "batch"),
        ("lora", with(|o| o.rate = Some(-1.0)), "rate"),
        ("lora", with(|o| o.layers = "7".into()), "layers"),
        ("lora", with(|o| o.modules = "norm".into()), "modules"),
        (
            "prompt_tuning",
            with(|o| o.layers = "1".into()),
            "all blocks",
        ),
    ] {
        let sentence = refused(method, options);
        assert!(sentence.contains(word), "{method}: {sentence}");
    }
}

/// Five steps on a GPU are those of the processor, over f32 and over weights that stay quantised there.
#[test]
fn a_gpu_trains_as_the_processor() {
    if lacks_gpu() {
        return;
    }
    let gpu = block_on(device::gpu()).expect("a GPU");
    let dense = Weights::Dense;
    let contrast = contrast();
    for (what, sessions) in [
        ("f32", [tiny("base"), tiny_on("base", &gpu, dense)]),
        (
            "quantised",
            [tiny_quantised(dense), tiny_quantised_on(&gpu, dense)],
        ),
    ] {
        let sessions = sessions.map(reading);
        for name in ["lora", "ia3", "bipo"] {
            let [expected, found] = sessions.each_ref().map(|session| {
                let mut trainer = trainer(session, &contrast, name, &options());
                let before = block_on(trainer.numbers()).expect(name);
                for _ in 0..5 {
                    block_on(trainer.step()).expect(name);
                }
                let after = block_on(trainer.numbers()).expect(name);
                let moved = after.iter().flat_map(|(key, now)| {
                    let both = floats(now).iter().zip(floats(&before[key]));
                    both.map(|(now, before)| now - before).collect::<Vec<f32>>()
                });
                moved.collect::<Vec<f32>>()
            });
            let apart = length(expected.iter().zip(&found).map(|(a, b)| a - b));
            let whole = length(expected.iter().copied());
            assert!(apart < 1e-3 * whole, "{name}, {what}: {apart} of {whole}");
        }
    }
}
