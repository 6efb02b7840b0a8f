//! The texts of training, as the base's blocks below the first adapted one leave them: these run once. So does
//! all of the base, where a gate reads its last states.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::dose::Passage;
use crate::error::Result;
use crate::hooks::Steering;
use crate::model::{Begun, KvCache, Model, Positions};

/// What comes into the first adapted block, `[t, d]`, for some tokens.
#[derive(Debug)]
struct Stream {
    rows: Tensor<2>,
    of: Vec<u32>,
    /// The base's last states, where a gate reads them.
    states: Option<Tensor<2>>,
}

/// What was computed of the tokens before some: of the blocks below the first adapted one, and of all.
#[derive(Debug, Clone)]
struct Before {
    below: KvCache,
    all: Option<KvCache>,
}

/// An answer: what comes into the block for the prompt's last token and all of the answer but its last,
/// and the tokens that follow each.
#[derive(Debug)]
struct Answer {
    stream: Stream,
    tokens: Vec<u32>,
}

/// A prompt after what all prompts begin with, and its answers.
#[derive(Debug)]
struct Kept {
    before: Option<Stream>,
    answers: Vec<Answer>,
}

/// All texts.
#[derive(Debug)]
pub(super) struct Texts {
    /// The first adapted block.
    first: usize,
    /// What all prompts begin with.
    prefix: Option<Stream>,
    kept: Vec<Kept>,
}

/// The logits of some answers, one row for each of their tokens.
pub(super) struct Read {
    /// `[n, vocab]`
    pub(super) logits: Tensor<2>,
    /// The rows of each answer.
    pub(super) rows: Vec<Range<usize>>,
    /// The token after each row.
    pub(super) tokens: Vec<u32>,
}

impl Texts {
    /// Runs the blocks before `first` over all passages; all blocks, where a gate reads their last states.
    pub(super) fn new(
        model: &Model,
        first: usize,
        passages: &[Passage],
        gated: bool,
    ) -> Result<Self> {
        let common = Passage::common(passages);
        let mut cache = Before {
            below: model.new_cache(),
            all: gated.then(|| model.new_cache()),
        };
        let stream = |of: Vec<u32>, cache: &mut Before| -> Result<Stream> {
            let rows = model.stream_into(first, &of, &mut cache.below)?;
            let states = cache.all.as_mut().map(|all| model.last_states(&of, all));
            let states = states.transpose()?;
            Ok(Stream { rows, of, states })
        };
        let some = |tokens: &[u32], cache: &mut Before| {
            let is_some = !tokens.is_empty();
            is_some.then(|| stream(tokens.to_vec(), cache)).transpose()
        };
        let prefix = some(common, &mut cache)?;
        let keep = |passage: &Passage| {
            let mut opened = cache.clone();
            let end = passage.before.len() - 1;
            let before = some(&passage.before[common.len()..end], &mut opened)?;
            let answer = |tokens: &Vec<u32>| {
                let stream = stream(passage.told(tokens), &mut opened.clone())?;
                let tokens = tokens.clone();
                Ok(Answer { stream, tokens })
            };
            let answers = passage.answers.iter().map(answer);
            let answers = answers.collect::<Result<_>>()?;
            Ok(Kept { before, answers })
        };
        Ok(Self {
            first,
            prefix,
            kept: passages.iter().map(keep).collect::<Result<_>>()?,
        })
    }

    /// Reads the answers of some texts under one steering.
    pub(super) fn read(&self, model: &Model, steering: &Steering, texts: &[usize]) -> Result<Read> {
        let mut cache = model.new_cache();
        let run = |lanes: Vec<(&Stream, &mut KvCache)>, positions| {
            let lanes = lanes.into_iter().map(|(stream, cache)| Begun {
                rows: model.embedding_changed(stream.rows.clone(), &stream.of, steering),
                cache,
                states: stream.states.clone(),
            });
            model.forward_from(self.first, lanes.collect(), steering, positions)
        };
        if let Some(prefix) = &self.prefix {
            run(vec![(prefix, &mut cache)], Positions::None)?;
        }
        let kept: Vec<&Kept> = texts.iter().map(|&text| &self.kept[text]).collect();
        let mut opened = vec![cache; kept.len()];
        let lanes = kept.iter().zip(&mut opened);
        let lanes = lanes.filter_map(|(kept, cache)| Some((kept.before.as_ref()?, cache)));
        let lanes: Vec<_> = lanes.collect();
        if !lanes.is_empty() {
            run(lanes, Positions::None)?;
        }
        let answers = || kept.iter().flat_map(|kept| &kept.answers);
        let caches = kept.iter().zip(opened);
        let mut caches: Vec<KvCache> = caches
            .flat_map(|(kept, cache)| vec![cache; kept.answers.len()])
            .collect();
        let lanes = answers().map(|answer| &answer.stream);
        let lanes = lanes.zip(&mut caches).collect();
        let logits = run(lanes, Positions::All)?;
        let logits = logits.unwrap_or_else(|| unreachable!("all positions are asked for"));
        let mut rows = Vec::new();
        let mut tokens = Vec::new();
        for answer in answers() {
            rows.push(tokens.len()..tokens.len() + answer.tokens.len());
            tokens.extend(&answer.tokens);
        }
        Ok(Read {
            logits,
            rows,
            tokens,
        })
    }
}
