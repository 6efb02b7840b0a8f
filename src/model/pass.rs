//! Forward passes: several sequences at once, through all blocks.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use super::block;
use super::cache::KvCache;
use super::gpu::Gpu;
use super::host::{Host, Rows};
use super::lanes::{self, Begun, Lane, Plans, Run};
use super::layer::Pass;
use super::linear::project;
use super::tensors::{Tensors, capped, scaled};
use super::weight::Ids;
use super::{Model, Positions};
use crate::error::{Error, Result};
use crate::hooks::{LayerPlan, Listener, Steering};
use crate::tensor::{from_host, to_host};

impl Model {
    /// Runs `tokens` after what `cache` holds, extends the cache, and returns the logits of
    /// the wanted positions, `None` for [`Positions::None`]. Where the prompt ends, the cache knows.
    ///
    /// # Errors
    /// [`Error::BadToken`] for ids outside the vocabulary, [`Error::PromptTooLong`] when the
    /// context would overflow, [`Error::EmptyPrompt`] without tokens.
    pub fn forward(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        steering: &Steering,
        positions: Positions,
    ) -> Result<Option<Tensor<2>>> {
        let lane = Lane {
            tokens,
            cache,
            steering,
        };
        self.forward_lanes(vec![lane], positions)
    }

    /// [`Self::forward`] for several sequences in one pass: the logits of all lanes on top of
    /// each other. Weights are read once for all of them.
    ///
    /// # Errors
    /// As [`Self::forward`]; then no cache has changed. No lanes are an error like no tokens.
    pub fn forward_lanes(
        &self,
        lanes: Vec<Lane>,
        positions: Positions,
    ) -> Result<Option<Tensor<2>>> {
        if lanes.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        for lane in &lanes {
            self.check(lane.tokens, lane.cache)?;
        }
        // Where something else acts on later tokens of a lane, those before them run first.
        let before = lanes.iter().map(|lane| {
            let (start, t) = (lane.cache.len(), lane.tokens.len());
            let pieces = lane.steering.pieces(start..start + t, lane.cache.prompt());
            pieces.last().map_or(0, |last| last.start - start)
        });
        let before: Vec<usize> = before.collect();
        if before.iter().any(|n| *n > 0) {
            return self.in_turns(lanes, &before, positions);
        }
        // The kernels share weights between single tokens; longer pieces gain nothing by it.
        let apart = self.embed_tokens.is_on_gpu() && lanes.iter().any(|lane| lane.tokens.len() > 1);
        if apart && lanes.len() > 1 {
            let each = lanes.into_iter();
            let logits = each.filter_map(|lane| self.pass(vec![lane], positions));
            let logits: Vec<_> = logits.collect();
            return Ok((!logits.is_empty()).then(|| lanes::join(logits)));
        }
        Ok(self.pass(lanes, positions))
    }

    /// The first tokens of each lane, `before` of them, then the rest of all.
    fn in_turns(
        &self,
        mut lanes: Vec<Lane>,
        before: &[usize],
        positions: Positions,
    ) -> Result<Option<Tensor<2>>> {
        let heads = lanes.iter_mut().zip(before).filter(|(_, n)| **n > 0);
        let heads = heads.map(|(lane, &n)| Lane {
            tokens: &lane.tokens[..n],
            cache: lane.cache,
            steering: lane.steering,
        });
        let of_heads = match positions {
            Positions::All => Positions::All,
            Positions::Last | Positions::None => Positions::None,
        };
        let heads = self.forward_lanes(heads.collect(), of_heads)?;
        let tails = lanes.into_iter().zip(before).map(|(lane, &n)| Lane {
            tokens: &lane.tokens[n..],
            ..lane
        });
        let tails: Vec<Lane> = tails.collect();
        let after: Vec<usize> = tails.iter().map(|lane| lane.tokens.len()).collect();
        let tails = self.forward_lanes(tails, positions)?;
        let (Some(heads), Some(tails)) = (&heads, &tails) else {
            return Ok(tails);
        };
        // Lane by lane again.
        let mut parts = Vec::new();
        let (mut head, mut tail) = (0, 0);
        for (&n, t) in before.iter().zip(after) {
            if n > 0 {
                parts.push(lanes::rows(heads, &(head..head + n)));
            }
            parts.push(lanes::rows(tails, &(tail..tail + t)));
            head += n;
            tail += t;
        }
        Ok(Some(lanes::join(parts)))
    }

    /// One pass; the same acts on all tokens of a lane.
    fn pass(&self, mut lanes: Vec<Lane>, positions: Positions) -> Option<Tensor<2>> {
        for lane in &mut lanes {
            lane.steering = lane.steering.at(lane.cache.len(), lane.cache.prompt());
        }
        let weigh = |lane: &mut Lane| self.weighed(lane.tokens, lane.cache, lane.steering);
        let weighed: Vec<_> = lanes.iter_mut().map(weigh).collect();
        let mut runs = Vec::with_capacity(lanes.len());
        let mut tokens = Vec::new();
        for (lane, weighed) in lanes.into_iter().zip(&weighed) {
            let steering = weighed.as_ref().unwrap_or(lane.steering);
            let first = tokens.len();
            tokens.extend(lane.tokens);
            runs.push(self.run(first..tokens.len(), lane.cache, steering));
        }
        let h = self.embed_tokens.select(Ids::Host(&tokens));
        let changes: Vec<_> = runs
            .iter()
            .map(|run| (run.rows.clone(), run.steering))
            .collect();
        let mut row = 0;
        let h = lanes::change(
            h,
            &changes,
            |steering| steering.embedding.is_empty(),
            |h, steering| {
                let first = row;
                row += h.dims()[0];
                changed(h, &tokens[first..row], steering)
            },
        );
        let h = scaled(h, self.config.embedding_scale);
        self.logits(h, runs, positions)
    }

    /// One token more for each lane, whose ids `[lanes]` need not be known on the host yet: the logits
    /// `[lanes, vocab]`. Nothing in it may depend on which tokens these are but their embeddings, as
    /// [`Steering::reads_tokens`] tells.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] when a context would overflow; then no cache has changed.
    pub fn forward_next(
        &self,
        ids: &Tensor<1, Int>,
        lanes: Vec<(&mut KvCache, &Steering)>,
    ) -> Result<Option<Tensor<2>>> {
        let context = self.config.context;
        if let Some((cache, _)) = lanes.iter().find(|(cache, _)| cache.len() == context) {
            let tokens = cache.len() + 1;
            return Err(Error::PromptTooLong { tokens, context });
        }
        let each = (0..).zip(lanes);
        let runs = each
            .map(|(row, (cache, steering))| self.run(row..row + 1, cache, steering))
            .collect();
        let h = self.embed_tokens.select(Ids::Device(ids));
        let h = scaled(h, self.config.embedding_scale);
        Ok(self.logits(h, runs, Positions::Last))
    }

    /// Runs embeddings `h [t, d]` of all lanes through the blocks and the head.
    fn logits(&self, h: Tensor<2>, runs: Vec<Run>, positions: Positions) -> Option<Tensor<2>> {
        let h = self.positioned(h, &runs);
        self.logits_from(0, h, runs, positions)
    }

    /// As [`Self::logits`], of what comes into a block.
    fn logits_from(
        &self,
        first: usize,
        h: Tensor<2>,
        mut runs: Vec<Run>,
        positions: Positions,
    ) -> Option<Tensor<2>> {
        let h = self.blocks_in(first..self.layers.len(), h, &mut runs, |_, _| {});
        // The rows whose logits are wanted, of all rows and among themselves.
        let wanted = |run: &Run| match positions {
            Positions::None => run.rows.end..run.rows.end,
            Positions::Last => run.rows.end - 1..run.rows.end,
            Positions::All => run.rows.clone(),
        };
        let h = match positions {
            Positions::None => return None,
            _ if runs.iter().all(|run| wanted(run) == run.rows) => h,
            _ => lanes::join(
                runs.iter()
                    .map(|run| lanes::rows(&h, &wanted(run)))
                    .collect(),
            ),
        };
        let mut row = 0;
        let ends: Vec<_> = runs
            .iter()
            .map(|run| {
                let start = row;
                row += wanted(run).len();
                (start..row, run.steering)
            })
            .collect();
        let gains: Vec<_> = ends
            .iter()
            .map(|(at, end)| (at.clone(), &end.gains))
            .collect();
        let heads: Vec<_> = ends
            .iter()
            .map(|(at, end)| (at.clone(), &end.head))
            .collect();
        let h = self.norm.forward(h, &gains);
        let logits = project(h, self.head(), None, &heads);
        let logits = scaled(logits, 1.0 / self.config.logit_divisor);
        Some(capped(logits, self.config.logit_cap))
    }

    /// Opens a lane's part of a pass, in which the same acts on all its tokens.
    fn run<'a>(
        &self,
        rows: Range<usize>,
        cache: &'a mut KvCache,
        steering: &'a Steering,
    ) -> Run<'a> {
        let steering = steering.at(cache.len(), cache.prompt());
        if steering.tracks_gradients() {
            cache.leave_host();
        }
        let turn = cache.begin(rows.len(), steering.stamp());
        Run {
            ropes: cache.is_on_host().then(|| turn.host_ropes(&self.ropes)),
            rows,
            cache,
            turn,
            steering,
        }
    }

    /// The residual stream at the output of every block, each `[t, d]`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn residuals(&self, tokens: &[u32], steering: &Steering) -> Result<Vec<Tensor<2>>> {
        let mut cache = self.new_cache();
        self.check(tokens, &cache)?;
        let mut outputs = vec![Vec::new(); self.layers.len()];
        for piece in steering.pieces(0..tokens.len(), cache.prompt()) {
            let steering = steering.at(piece.start, cache.prompt());
            let tokens = &tokens[piece];
            let weighed = self.weighed(tokens, &mut cache, steering);
            let steering = weighed.as_ref().unwrap_or(steering);
            let h = self.embed(tokens, steering);
            let run = self.run(0..tokens.len(), &mut cache, steering);
            self.blocks(h, &mut [run], |layer, h| outputs[layer].push(h.clone()));
        }
        Ok(outputs.into_iter().map(lanes::join).collect())
    }

    /// The same of the base after the blocks `0..=last`, for several texts in one pass, each after what
    /// its cache holds of these blocks: the rows of all texts on top of each other, `[Σt, d]`.
    ///
    /// # Errors
    /// As [`Self::forward_lanes`].
    pub fn base_residuals(
        &self,
        texts: Vec<(&[u32], &mut KvCache)>,
        last: usize,
    ) -> Result<Vec<Tensor<2>>> {
        if texts.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        for (tokens, cache) in &texts {
            self.check(tokens, cache)?;
        }
        let base = Steering::base();
        let tokens: Vec<u32> = texts
            .iter()
            .flat_map(|(tokens, _)| *tokens)
            .copied()
            .collect();
        let mut row = 0;
        let run = |(tokens, cache): (&[u32], _)| {
            let first = row;
            row += tokens.len();
            self.run(first..row, cache, &base)
        };
        let mut runs: Vec<Run> = texts.into_iter().map(run).collect();
        let h = self.positioned(self.embed(&tokens, &base), &runs);
        let mut outputs = Vec::with_capacity(last + 1);
        self.blocks_in(0..last + 1, h, &mut runs, |_, h| outputs.push(h.clone()));
        Ok(outputs)
    }

    /// What comes into block `first` of the base for these tokens, `[t, d]`, after what `cache` holds of the
    /// blocks before it.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn stream_into(
        &self,
        first: usize,
        tokens: &[u32],
        cache: &mut KvCache,
    ) -> Result<Tensor<2>> {
        self.check(tokens, cache)?;
        let base = Steering::base();
        let mut runs = [self.run(0..tokens.len(), cache, &base)];
        let h = self.positioned(self.embed(tokens, &base), &runs);
        Ok(self.blocks_in(0..first, h, &mut runs, |_, _| {}))
    }

    /// The base's last states of these tokens, `[t, d]`, as they come to the head: what a gate reads whose
    /// scout has no effects.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn last_states(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Tensor<2>> {
        let h = self.stream_into(self.layers.len(), tokens, cache)?;
        Ok(self.norm.forward(h, &[]))
    }

    /// What comes into block 0, `[t, d]`, with what the steering changes of the embedding.
    #[must_use]
    pub fn embedding_changed(
        &self,
        stream: Tensor<2>,
        tokens: &[u32],
        steering: &Steering,
    ) -> Tensor<2> {
        if steering.embedding.is_empty() {
            return stream;
        }
        let change = changed(stream.zeros_like(), tokens, steering);
        stream + scaled(change, self.config.embedding_scale)
    }

    /// The rest of a pass: logits from what comes into block `first`. No effect of the steering may lie before
    /// it, the embedding is as it is, and all act on all tokens.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`] when a context would overflow, [`Error::EmptyPrompt`] without lanes,
    /// [`Error::BadOption`] for a gate that does not read the base, or reads lanes without their states.
    pub fn forward_from(
        &self,
        first: usize,
        lanes: Vec<Begun>,
        steering: &Steering,
        positions: Positions,
    ) -> Result<Option<Tensor<2>>> {
        let weighed = lanes.iter().map(|lane| match &lane.states {
            _ if steering.gates.is_empty() => Ok(None),
            Some(states) if steering.gates.iter().all(|it| it.gate.scout.is_empty()) => {
                let weigh = |it: &Listener| it.gate.weigh(states.clone());
                let weights: Vec<_> = steering.gates.iter().map(weigh).collect();
                Ok(Some(steering.weighed(&weights)))
            }
            _ => Err(Error::BadOption {
                name: "steering",
                expected: "no gate, or one that reads the base's states, which are given",
                found: format!("{} of them", steering.gates.len()),
            }),
        });
        let weighed: Vec<Option<Steering>> = weighed.collect::<Result<_>>()?;
        let context = self.config.context;
        let mut row = 0;
        let mut streams = Vec::with_capacity(lanes.len());
        let mut runs = Vec::with_capacity(lanes.len());
        for (lane, weighed) in lanes.into_iter().zip(&weighed) {
            let [t, _] = lane.rows.dims();
            let tokens = lane.cache.len() + t;
            if tokens > context {
                return Err(Error::PromptTooLong { tokens, context });
            }
            let steering = weighed.as_ref().unwrap_or(steering);
            runs.push(self.run(row..row + t, lane.cache, steering));
            row += t;
            streams.push(lane.rows);
        }
        if streams.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        Ok(self.logits_from(first, lanes::join(streams), runs, positions))
    }

    /// `Jᵀ c`: how the part along c `[d]` of the base's stream after block `target`, summed over the tokens
    /// `rows`, changes with the stream after each of the blocks `layers` before it, `[t, d]` each.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn pulled_back(
        &self,
        tokens: &[u32],
        (rows, c): (Range<usize>, &Tensor<1>),
        layers: std::ops::RangeInclusive<usize>,
        target: usize,
    ) -> Result<Vec<Tensor<2>>> {
        let (mut cache, base) = (self.new_cache(), Steering::base());
        self.check(tokens, &cache)?;
        cache.leave_host();
        let mut leaves = Vec::new();
        let mut runs = [self.run(0..tokens.len(), &mut cache, &base)];
        let mut h = self.positioned(self.embed(tokens, &base), &runs);
        for layer in 0..=target {
            let plans = lanes::of_layer(&runs, layer);
            h = self.block(layer, h, &mut runs, &plans);
            if layer < target && layers.contains(&layer) {
                // What is asked for is the gradient of a step there.
                let step = Tensor::zeros(h.dims(), &self.device());
                let step = step.autodiff().require_grad();
                h = h + step.clone();
                leaves.push(step);
            }
        }
        let along = h.narrow(0, rows.start, rows.len()) * c.clone().unsqueeze();
        let gradients = along.sum().backward();
        let of_leaf = |leaf: &Tensor<2>| {
            let none = || Tensor::zeros(leaf.dims(), &self.device());
            leaf.grad(&gradients).unwrap_or_else(none)
        };
        Ok(leaves.iter().map(of_leaf).collect())
    }

    /// What every layer of the base keeps of embeddings `[n, d]` at positions 0 … n−1: keys
    /// (rotated) and values, each `[kv_heads, n, hd]`; n up to [`EXTRA_POSITIONS`](super::EXTRA_POSITIONS).
    #[must_use]
    pub fn keys_values(&self, embeddings: Tensor<2>) -> Vec<(Tensor<3>, Tensor<3>)> {
        let mut cache = self.new_cache();
        if embeddings.is_autodiff() {
            cache.leave_host();
        }
        let base = Steering::base();
        let run = self.run(0..embeddings.dims()[0], &mut cache, &base);
        let h = scaled(embeddings, self.config.virtual_scale);
        self.blocks(h, &mut [run], |_, _| {});
        cache.into_layers()
    }

    fn check(&self, tokens: &[u32], cache: &KvCache) -> Result<()> {
        let (vocab, context) = (self.config.vocab_size, self.config.context);
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab) {
            return Err(Error::BadToken { id, vocab });
        }
        let total = cache.len() + tokens.len();
        if total > context {
            Err(Error::PromptTooLong {
                tokens: total,
                context,
            })
        } else {
            Ok(())
        }
    }

    /// Lets the scout of every gate read up to the end of `tokens`, and weighs the experts for
    /// these tokens; `None` without gates.
    fn weighed(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        steering: &Steering,
    ) -> Option<Steering> {
        cache.tokens.extend(tokens);
        let weigh = |Listener { gate, scout: heard }: &Listener| {
            let mut scout = cache.take_scout(gate, || self.new_cache());
            let unread = &cache.tokens[scout.len()..];
            let h = self.embed(unread, heard);
            let run = self.run(0..unread.len(), &mut scout, heard);
            let h = self.blocks(h, &mut [run], |_, _| {});
            cache.put_scout(gate, scout);
            let h = h
                .clone()
                .narrow(0, h.dims()[0] - tokens.len(), tokens.len());
            gate.weigh(self.norm.forward(h, &[]))
        };
        let weights: Vec<_> = steering.gates.iter().map(weigh).collect();
        (!weights.is_empty()).then(|| steering.weighed(&weights))
    }

    /// The embeddings of `tokens`, changed and then scaled, as PEFT scales changes too: `[t, d]`.
    fn embed(&self, tokens: &[u32], steering: &Steering) -> Tensor<2> {
        let h = self.embed_tokens.select(Ids::Host(tokens));
        scaled(changed(h, tokens, steering), self.config.embedding_scale)
    }

    /// Runs all blocks over `h [t, d]`, the rows of all lanes. `tap` sees every block's output.
    fn blocks(
        &self,
        h: Tensor<2>,
        runs: &mut [Run],
        tap: impl FnMut(usize, &Tensor<2>),
    ) -> Tensor<2> {
        let h = self.positioned(h, runs);
        self.blocks_in(0..self.layers.len(), h, runs, tap)
    }

    /// Embeddings with the row of each position, in families that learn them.
    fn positioned(&self, h: Tensor<2>, runs: &[Run]) -> Tensor<2> {
        let Some(table) = &self.positions else {
            return h;
        };
        let each = runs.iter().map(|run| {
            let rows = table.clone().narrow(0, run.turn.start, run.turn.t);
            lanes::rows(&h, &run.rows) + rows
        });
        lanes::join(each.collect())
    }

    /// Some of the blocks, one after the other.
    fn blocks_in(
        &self,
        blocks: Range<usize>,
        mut h: Tensor<2>,
        runs: &mut [Run],
        mut tap: impl FnMut(usize, &Tensor<2>),
    ) -> Tensor<2> {
        for layer in blocks {
            let plans = lanes::of_layer(runs, layer);
            h = self.block(layer, h, runs, &plans);
            tap(layer, &h);
        }
        h
    }

    /// One block, by the fastest executor that can run it.
    fn block<'a>(
        &self,
        layer: usize,
        h: Tensor<2>,
        runs: &mut [Run<'a>],
        plans: &Plans<'a, LayerPlan>,
    ) -> Tensor<2> {
        let block = &self.layers[layer];
        let is_tracked = h.is_autodiff() || runs.iter().any(|run| run.steering.tracks_gradients());
        let on_host =
            !is_tracked && runs.iter().all(|run| run.ropes.is_some()) && Host::runs(plans);
        let pass = Pass {
            block,
            layer,
            runs,
            plans,
            ropes: &self.ropes,
            config: &self.config,
        };
        match &block.stacks {
            Some(stacks) if !is_tracked => Gpu::new(pass, stacks).forward(h),
            _ if on_host => {
                let h = Rows::new(to_host(h), self.config.hidden_size);
                let h = block::forward(&mut Host(pass), h);
                from_host(h.values, self.config.hidden_size)
            }
            _ => block::forward(&mut Tensors(pass), h),
        }
    }
}

/// The embeddings `h [t, d]` of `tokens` as the table has them, changed.
fn changed(h: Tensor<2>, tokens: &[u32], steering: &Steering) -> Tensor<2> {
    let changes = steering.embedding.iter();
    changes.fold(h, |h, change| change.apply(h, tokens))
}
