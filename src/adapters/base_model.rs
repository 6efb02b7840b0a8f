//! Whether an adapter was made for another model, judged by names: the family, its version and the
//! size in a name. Everything else in a name, such as its maker, "Instruct" or the quantisation, is
//! ignored; an unknown name is no mismatch.

use std::collections::BTreeMap;
use std::fmt;

/// Families by the word in their names. Fine-tunes such as Vicuna are left out: each is of one of
/// these families, and its name does not say which.
const FAMILIES: &[&str] = &[
    "baichuan",
    "bloom",
    "bloomz",
    "chatglm",
    "codegemma",
    "codellama",
    "danube",
    "deepseek",
    "exaone",
    "falcon",
    "gemma",
    "glm",
    "gpt2",
    "gptj",
    "gptneo",
    "gptneox",
    "gptoss",
    "granite",
    "internlm",
    "lfm",
    "llama",
    "mamba",
    "minicpm",
    "ministral",
    "mistral",
    "mixtral",
    "mobilellm",
    "nemotron",
    "olmo",
    "olmoe",
    "openllama",
    "phi",
    "pythia",
    "qwen",
    "rwkv",
    "smollm",
    "stablelm",
    "starcoder",
    "tinyllama",
    "yi",
];

/// The family whose first version goes without a number.
const UNNUMBERED: &[&str] = &["smollm"];

/// Sizes up to this factor apart are the same: a 7B has 6.7 billion numbers.
const SAME_SIZE: f64 = 1.06;
/// The same for `general.size_label`, which llama.cpp computes where no name has a size, embedding
/// and head included.
const SAME_COUNT: f64 = 1.35;

/// A warning when an adapter's base model, by the name in its config, is of another family or size
/// than the model with these names (paths, names, or a size alone).
pub(super) fn another(base: &str, model: &[String]) -> Option<String> {
    let asked = Known::of([base]);
    let found = Known::of(model.iter().map(String::as_str));
    if !asked.differs(&found) {
        return None;
    }
    // The first of its names with a family or a size.
    let is_known = |name: &&str| !Known::of([*name]).is_empty();
    let mut names = model.iter().map(|name| last_part(name));
    Some(format!(
        "its config names {} ({asked}) as the base, the model is {} ({found})",
        last_part(base),
        names.find(is_known).unwrap_or("another"),
    ))
}

/// The last part of a path. In the Hugging Face cache, whose last part is a commit, the repository's.
fn last_part(path: &str) -> &str {
    let parts = || {
        path.split(['/', '\\'])
            .filter(|part| !matches!(*part, "" | "." | ".."))
    };
    let cached = parts().find_map(|part| part.strip_prefix("models--"));
    let cached = cached.and_then(|name| name.rsplit("--").next());
    cached.or_else(|| parts().next_back()).unwrap_or_default()
}

/// What names say. Where they are ambiguous all readings are kept.
#[derive(Debug, Default)]
struct Known {
    /// The versions of each family, empty where no name has one.
    families: BTreeMap<&'static str, Vec<String>>,
    /// In millions.
    sizes: Vec<f64>,
    /// A size that stands alone, as `general.size_label` does.
    counted: Vec<f64>,
}

impl Known {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known = Self::default();
        for name in names {
            known.read(last_part(name));
        }
        known
    }

    fn read(&mut self, name: &str) {
        let words = words(name);
        if let [(_, word)] = words.as_slice()
            && let Some(size) = size(word, &["k", "m", "b"])
        {
            self.counted.push(size);
            return;
        }
        for (at, (before, word)) in words.iter().enumerate() {
            let rest: Vec<&str> = words[at + 1..]
                .iter()
                .map(|(_, word)| word.as_str())
                .collect();
            if let Some(size) = size(word, &["m", "b"]) {
                self.sizes.push(size);
                // 1_7b may be 1.7B.
                let whole = at.checked_sub(1).map(|at| words[at].1.as_str());
                if let (Some(whole), '_') = (whole, before)
                    && is_count(whole)
                {
                    let both = format!("{whole}.{word}");
                    self.sizes.extend(self::size(&both, &["m", "b"]));
                }
            }
            self.family(word, &rest);
            // TinyLlama may be written in two words.
            if let [next, rest @ ..] = rest.as_slice() {
                self.family(&format!("{word}{next}"), rest);
            }
        }
    }

    /// Reads a word that may be a family's, with its version at the end or in the next words.
    fn family(&mut self, word: &str, rest: &[&str]) {
        let named = |family: &&&str| {
            word.strip_prefix(**family)
                .is_some_and(|end| end.is_empty() || version(end).is_some())
        };
        let Some(family) = FAMILIES
            .iter()
            .filter(named)
            .max_by_key(|family| family.len())
        else {
            return;
        };
        let attached = version(&word[family.len()..]);
        let (first, rest) = match (attached, rest) {
            (Some(attached), rest) => (Some(attached), rest),
            (None, [next, rest @ ..]) => (version(next.trim_start_matches('v')), rest),
            (None, []) => (None, rest),
        };
        let versions = self.families.entry(family).or_default();
        if let Some(first) = first {
            // 3_1 and 3-1 may be 3.1.
            if let Some(minor) = rest.first().filter(|minor| minor.len() == 1)
                && is_count(minor)
                && is_count(first)
            {
                versions.push(format!("{first}.{minor}"));
            }
            versions.push(first.trim_end_matches(".0").to_owned());
        } else if UNNUMBERED.contains(family) {
            versions.push("1".into());
        }
    }

    fn is_empty(&self) -> bool {
        self.families.is_empty() && self.all_sizes().is_empty()
    }

    fn differs(&self, other: &Self) -> bool {
        let families = !self.families.is_empty() && !other.families.is_empty();
        let both = |family: &str| Some((self.families.get(family)?, other.families.get(family)?));
        let alike = |family: &&&'static str| {
            both(family).is_some_and(|(a, b)| {
                a.is_empty() || b.is_empty() || a.iter().any(|version| b.contains(version))
            })
        };
        (families && !self.families.keys().any(|family| alike(&family)))
            || self.differs_in_size(other)
    }

    fn differs_in_size(&self, other: &Self) -> bool {
        let near = |factor: f64| move |a: &f64, b: &f64| (a / b).max(b / a) <= factor;
        let any =
            |a: &[f64], b: &[f64], factor| a.iter().any(|a| b.iter().any(|b| near(factor)(a, b)));
        let (own, others) = (self.all_sizes(), other.all_sizes());
        if own.is_empty() || others.is_empty() {
            return false;
        }
        // A count is rough; a size in a name comes first.
        let rough = self.sizes.is_empty() || other.sizes.is_empty();
        !any(&own, &others, if rough { SAME_COUNT } else { SAME_SIZE })
    }

    fn all_sizes(&self) -> Vec<f64> {
        [self.sizes.as_slice(), &self.counted].concat()
    }
}

/// `smollm 2, 135M`
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |(name, versions): (&&str, &Vec<String>)| match versions.first() {
            Some(version) => format!("{name} {version}"),
            None => (*name).to_owned(),
        };
        let size = |millions: &f64| match *millions {
            size if size >= 1000.0 => format!("{}B", size / 1000.0),
            size if size < 1.0 => format!("{}K", size * 1000.0),
            size => format!("{size}M"),
        };
        let mut parts: Vec<String> = self.families.iter().map(family).collect();
        let sizes = if self.sizes.is_empty() {
            &self.counted
        } else {
            &self.sizes
        };
        parts.extend(sizes.iter().map(size));
        f.write_str(&parts.join(", "))
    }
}

/// The words of a name in lower case, each with the separator before it. A dot between two digits
/// belongs to the word.
fn words(name: &str) -> Vec<(char, String)> {
    let letters: Vec<char> = name.to_lowercase().chars().collect();
    let digit = |at: Option<usize>| {
        let letter = at.and_then(|at| letters.get(at));
        letter.is_some_and(char::is_ascii_digit)
    };
    let mut words: Vec<(char, String)> = Vec::new();
    let mut before = Some(' ');
    for (at, &letter) in letters.iter().enumerate() {
        let inside = letter.is_alphanumeric()
            || (letter == '.' && digit(at.checked_sub(1)) && digit(Some(at + 1)));
        match (inside, before.take(), words.last_mut()) {
            (false, ..) => before = Some(letter),
            (true, None, Some((_, word))) => word.push(letter),
            (true, before, _) => words.push((before.unwrap_or(' '), letter.into())),
        }
    }
    words
}

fn is_count(word: &str) -> bool {
    (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `2`, `3.1`: at most two digits each; `3n` is a 3.
fn version(word: &str) -> Option<&str> {
    let word = word.strip_suffix('n').unwrap_or(word);
    let is_version = match word.split_once('.') {
        Some((major, minor)) => is_count(major) && is_count(minor),
        None => is_count(word),
    };
    is_version.then_some(word)
}

/// `135m`, `1.7b` and `8x7b` in millions.
fn size(word: &str, units: &[&str]) -> Option<f64> {
    let unit = units.iter().find(|unit| word.ends_with(**unit))?;
    let number = word.strip_suffix(unit)?;
    let (times, number) = number.split_once('x').unwrap_or(("1", number));
    let digits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if !digits(times) || !digits(number) || number.len() > 6 {
        return None;
    }
    let size = times.parse::<f64>().ok()? * number.parse::<f64>().ok()?;
    let scale = match *unit {
        "k" => 1e-3,
        "m" => 1.0,
        _ => 1e3,
    };
    (size > 0.0).then_some(size * scale)
}

#[cfg(test)]
mod tests {
    use super::another;

    const SMOLLM2: &[&str] = &[
        "Smollm2 135M 8k Lc100K Mix1 Ep2",
        "smollm2-8k-lc100k-mix1-ep2",
        "135M",
    ];

    /// An adapter's base, what is known of the model, and whether one is not the other.
    #[rustfmt::skip]
    const CASES: &[(&str, &[&str], bool)] = &[
        // The same, written in many ways.
        ("HuggingFaceTB/SmolLM2-135M-Instruct", SMOLLM2, false),
        ("HuggingFaceTB/SmolLM2-135M", SMOLLM2, false),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", &["SmolLM2 135M Instruct"], false),
        ("HuggingFaceTB/SmolLM2-135M-Instruct/", &["SmolLM2-135M-Instruct.Q4_1.gguf"], false),
        ("unsloth/smollm2-135m-instruct-bnb-4bit", &["SmolLM2-135M"], false),
        ("HuggingFaceTB/SmolLM2-1.7B", &["smollm2_1_7b"], false),
        ("SmolLM2-0.135B", SMOLLM2, false),
        ("meta-llama/Meta-Llama-3.1-8B", &["Llama-3.1-8B-Instruct"], false),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", &["Meta Llama 3.1 8B Instruct", "Meta-Llama-3.1", "8B"], false),
        ("meta-llama/Llama-3.2-1B", &["Llama 3.2 1B Instruct", "1.2B"], false),
        ("meta-llama/Llama-3.2-1B", &["llama-3_2-1b-hf"], false),
        ("meta-llama/Llama-3.2-1B", &["Models", "1.2B"], false),
        ("meta-llama/Llama-2-7b-hf", &["LLaMA v2"], false),
        ("meta-llama/Llama-2-7b-chat-hf", &["llama2_7b_chat", "6.7B"], false),
        ("TheBloke/Llama-2-7B-GGUF", &["meta-llama_Llama-2-7b-hf"], false),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", &["tinyllama_tinyllama-1.1b-chat-v1.0"], false),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", &["TinyLlama-1.1B-intermediate-step-1431k-3T"], false),
        ("codellama/CodeLlama-7b-hf", &["Code Llama 7B"], false),
        ("mistralai/Mistral-7B-v0.1", &["Mistral-7B-Instruct-v0.3"], false),
        ("mistralai/Mixtral-8x7B-v0.1", &["mixtral 8x7b", "46.7B"], false),
        ("Qwen/Qwen2.5-7B-Instruct-1M", &["Qwen2.5 7B"], false),
        ("Qwen/Qwen2.5-0.5B", &["Qwen2.5", "494M"], false),
        ("Qwen/Qwen3-30B-A3B", &["Qwen3 30B A3B"], false),
        ("google/gemma-2-2b-it", &["gemma-2-2b"], false),
        ("google/gemma-2-2b-it", &["gemma_2_2b", "2.6B"], false),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", &["DeepSeek R1 Distill Llama 8B"], false),
        ("meta-llama/Llama-3.1-8B", &["DeepSeek R1 Distill Llama 8B"], false),
        ("NousResearch/Hermes-3-Llama-3.2-3B", &["Llama 3.2 3B"], false),
        ("/root/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M/snapshots/93efa2f097d58c2a74874c7e644dbc9b0cee75a2", SMOLLM2, false),
        ("HuggingFaceTB/SmolLM2-135M", &["/x/models--HuggingFaceTB--SmolLM2-135M/snapshots/93efa2f0"], false),
        ("C:\\models\\SmolLM2-135M", SMOLLM2, false),
        ("llama_rope_llama3_new", &["tiny llama_rope_llama3_new", "113K"], false),
        ("llama_new_style", &["tiny llama_rope_yarn", "113K"], false),
        ("llama_new_style", &["tiny llama_rope_llama3_new", "113K"], false),
        ("phi-1_5", &["Phi 1.5"], false),
        // Unknown on one side.
        ("./out", SMOLLM2, false),
        ("checkpoint-500", SMOLLM2, false),
        ("/home/me/runs/llama/checkpoint-500", SMOLLM2, false),
        ("", SMOLLM2, false),
        ("/", SMOLLM2, false),
        ("93efa2f097d58c2a74874c7e644dbc9b0cee75a2", SMOLLM2, false),
        ("lmsys/vicuna-7b-v1.5", &["LLaMA v2"], false),
        ("HuggingFaceH4/zephyr-7b-beta", &["Mistral 7B v0.1"], false),
        ("meta-llama/Llama-3.1-8B", &["base"], false),
        ("meta-llama/Llama-3.1-8B", &["Models", "model.safetensors"], false),
        ("meta-llama/Llama-3.1-8B", &[], false),
        ("HuggingFaceTB/SmolLM2-135M", &["93efa2f097d58c2a74874c7e644dbc9b0cee75a2"], false),
        ("out-4bit", SMOLLM2, false),
        ("tests/golden/base", SMOLLM2, false),
        // Another size.
        ("HuggingFaceTB/SmolLM2-360M", SMOLLM2, true),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", SMOLLM2, true),
        ("HuggingFaceTB/SmolLM2-1_7B", SMOLLM2, true),
        ("meta-llama/Llama-3.1-8B", &["Meta-Llama-3.1-70B-Instruct"], true),
        ("meta-llama/Llama-2-7b-hf", &["llama-2-13b"], true),
        ("my-run-7b", SMOLLM2, true),
        ("meta-llama/Llama-3.1-8B", &["Models", "135M"], true),
        ("Qwen/Qwen2.5-0.5B", &["Qwen2.5-1.5B", "1.5B"], true),
        ("mistralai/Mixtral-8x7B-v0.1", &["Mixtral-8x22B"], true),
        ("meta-llama/Llama-3.1-8B", &["tiny llama_rope_yarn", "113K"], true),
        // Another family, or another version of it.
        ("meta-llama/Llama-3.1-8B", SMOLLM2, true),
        ("meta-llama/Llama-3.1", SMOLLM2, true),
        ("amd/AMD-Llama-135m", SMOLLM2, true),
        ("HuggingFaceTB/SmolLM-135M", SMOLLM2, true),
        ("HuggingFaceTB/SmolLM-135M-Instruct-v0.2", SMOLLM2, true),
        ("HuggingFaceTB/SmolLM2-135M", &["SmolLM 135M"], true),
        ("Qwen/Qwen2-0.5B", &["Qwen2.5 0.5B"], true),
        ("Qwen/Qwen2.5-7B", &["Llama-2-7b-hf"], true),
        ("meta-llama/Llama-2-7b-hf", &["Llama 3 8B"], true),
        ("openlm-research/open_llama_7b", &["CodeLlama-7b-hf"], true),
        ("mistralai/Mistral-7B-v0.1", &["/models/Llama-2-7b-hf"], true),
        ("TinyLlama/TinyLlama-1.1B", &["Llama-3.2-1B"], true),
        ("qwen2", &["tiny llama_rope_yarn"], true),
        ("/x/models--meta-llama--Llama-3.1-8B/snapshots/0e9e39f", SMOLLM2, true),
    ];

    fn said(base: &str, model: &[&str]) -> Option<String> {
        let names: Vec<String> = model.iter().map(|&name| name.into()).collect();
        another(base, &names)
    }

    #[test]
    fn another_model_is_distinguished_from_the_same_and_the_unknown() {
        let wrong = |(base, model, differs): &&(&str, &[&str], bool)| {
            said(base, model).is_some() != *differs
        };
        let failures: Vec<String> = CASES
            .iter()
            .filter(wrong)
            .map(|(base, model, _)| format!("{base} with {model:?}: {:?}", said(base, model)))
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn both_are_named() {
        assert_eq!(
            said("meta-llama/Llama-3.1-8B", SMOLLM2).as_deref(),
            Some(
                "its config names Llama-3.1-8B (llama 3.1, 8B) as the base, the model is Smollm2 \
                 135M 8k Lc100K Mix1 Ep2 (smollm 2, 135M)"
            ),
        );
    }
}
