//! The Llama decoder (RMSNorm, RoPE, grouped-query attention, SwiGLU) over burn tensors.
//!
//! Every tensor here belongs to one sequence: activations are `[t, width]`, there is no batch
//! dimension. Adapters enter at named hook points only ([`Steering`]); the model knows the few
//! shapes an effect can have, never the method it came from.

mod attention;
mod cache;
mod folded;
mod fused;
mod history;
mod host;
mod lanes;
mod reader;
mod weight;

pub use attention::{Attention, EXTRA_POSITIONS, Rope};
pub use cache::KvCache;
pub use folded::Folded;
pub use lanes::Lane;
pub use weight::{Ids, Weight, Weights};

use std::ops::Range;

use burn::module::Param;
use burn::nn::RmsNorm;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use crate::arch::{DecoderConfig, ModelFile, Norm, Projection};
use crate::error::{Error, Result};
use crate::hooks::{LayerPlan, Listener, SitePlan, Steering};
use crate::kernels;
use crate::tensor::telling;
use crate::weights::ByteSource;
use fused::Fused;
use host::HostRope;
use lanes::{Plans, Run};
use reader::Reader;

/// `y = x Wᵀ + b` with W `[o, i]`, the layout of checkpoints, so that one row is one output.
#[derive(Debug)]
pub struct Linear {
    /// W `[o, i]`.
    pub weight: Weight,
    /// b `[o]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `x [t, i] -> y [t, o]`, with the effects of `plan` in this order: input maps, base
    /// product, weight deltas (of the mapped input), bias, output maps; inside each kind in the
    /// order of the stack. An empty plan is the base layer and nothing else.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>, plan: &SitePlan) -> Tensor<2> {
        self.forward_lanes(x.clone(), &[(0..x.dims()[0], plan)])
    }

    /// [`Self::forward`] with a plan for the rows of each lane.
    fn forward_lanes(&self, x: Tensor<2>, plans: &Plans<SitePlan>) -> Tensor<2> {
        project(x, &self.weight, self.bias.as_ref().map(Param::val), plans)
    }
}

fn project(
    x: Tensor<2>,
    weight: &Weight,
    bias: Option<Tensor<1>>,
    plans: &Plans<SitePlan>,
) -> Tensor<2> {
    let x = lanes::change(
        x,
        plans,
        |plan| plan.inputs.is_empty(),
        |x, plan| plan.inputs.iter().fold(x, |x, map| map.apply(x)),
    );
    let base = weight.product(x.clone());
    if bias.is_none() && plans.iter().all(|(_, plan)| plan.is_empty()) {
        return base;
    }
    let each = plans.iter().map(|(rows, plan)| {
        let (x, base) = (lanes::rows(&x, rows), lanes::rows(&base, rows));
        steered(&x, base, weight, bias.clone(), plan)
    });
    lanes::join(each.collect())
}

/// What becomes of `base = x Wᵀ` for the mapped input x: deltas, bias, output maps.
fn steered(
    x: &Tensor<2>,
    base: Tensor<2>,
    weight: &Weight,
    bias: Option<Tensor<1>>,
    plan: &SitePlan,
) -> Tensor<2> {
    let y = plan.deltas.iter().fold(base.clone(), |y, delta| {
        y + delta.apply(x, &base, |x| weight.product(x))
    });
    let y = match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    };
    plan.outputs.iter().fold(y, |y, map| map.apply(y))
}

/// SwiGLU: `down(silu(gate(x)) ∘ up(x))`.
#[derive(Debug)]
pub struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>, plans: &Plans<LayerPlan>) -> Tensor<2> {
        let of = |projection| lanes::of_site(plans, projection);
        let gate = self.gate.forward_lanes(x.clone(), &of(Projection::Gate));
        let up = self.up.forward_lanes(x, &of(Projection::Up));
        self.down
            .forward_lanes(activation::silu(gate) * up, &of(Projection::Down))
    }
}

/// One decoder block.
#[derive(Debug)]
pub struct Block {
    input_layernorm: RmsNorm,
    attention: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
    /// On a GPU: the same weights on top of each other, for the kernels.
    fused: Option<Fused>,
}

impl Block {
    /// `h [t, d] -> [t, d]`, the rows of all lanes.
    fn forward(
        &self,
        h: Tensor<2>,
        layer: usize,
        runs: &mut [Run],
        plans: &Plans<LayerPlan>,
        config: &DecoderConfig,
    ) -> Tensor<2> {
        if let Some(fused) = &self.fused {
            return fused.forward(self, h, layer, runs, plans, config);
        }
        if runs.iter().all(|run| run.rope.is_some()) && Self::runs_on_host(plans) {
            return self.on_host(h, layer, runs, plans, config);
        }
        let gains = lanes::of_norm(plans, Norm::Input);
        let x = normed(&self.input_layernorm, h.clone(), &gains);
        let h = h + self.attention.forward(x, layer, runs, plans, config);
        let gains = lanes::of_norm(plans, Norm::PostAttention);
        let x = normed(&self.post_attention_layernorm, h.clone(), &gains);
        moved(h + self.mlp.forward(x, plans), plans)
    }

    /// The linear layer at a projection.
    #[must_use]
    pub fn linear(&self, projection: Projection) -> &Linear {
        match projection {
            Projection::Q => &self.attention.q,
            Projection::K => &self.attention.k,
            Projection::V => &self.attention.v,
            Projection::O => &self.attention.o,
            Projection::Gate => &self.mlp.gate,
            Projection::Up => &self.mlp.up,
            Projection::Down => &self.mlp.down,
        }
    }
}

/// Which positions' logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Only the last: `[1, vocab]`.
    Last,
    /// Every position: `[t, vocab]`.
    All,
    /// None: only the cache is filled.
    None,
}

/// A Llama-architecture language model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Weight,
    layers: Vec<Block>,
    norm: RmsNorm,
    lm_head: Option<Weight>,
    rope: Rope,
    config: DecoderConfig,
    name: String,
    names: Vec<String>,
    arithmetic: String,
    weights: Weights,
}

impl Model {
    /// Streams the weights of `file` to `device`, one tensor at a time: at no moment does host
    /// memory hold more than one tensor besides those already on the device. `progress` gets
    /// the file bytes consumed so far.
    ///
    /// # Errors
    /// Whatever reading meets: missing tensors, wrong shapes, truncated files.
    pub async fn load<S: ByteSource>(
        file: &ModelFile<S>,
        device: &Device,
        weights: Weights,
        progress: impl FnMut(u64),
    ) -> Result<Self> {
        let config = file.config().clone();
        let mut read = Reader::new(file, device, weights, progress);
        let d = config.hidden_size;

        let embed_tokens = read
            .weight("model.embed_tokens", [config.vocab_size, d])
            .await?;
        let mut layers = Vec::with_capacity(config.num_layers);
        for layer in 0..config.num_layers {
            let (weights, fused) = read.block(layer, &config).await?;
            let mut linears = Vec::with_capacity(7);
            for (projection, weight) in Projection::ALL.into_iter().zip(weights) {
                let bias = format!("model.layers.{layer}.{}.bias", projection.path());
                let bias = match file.has(&bias) {
                    true => Some(Param::from_data(
                        read.vector(&bias, projection.widths(&config).1).await?,
                        device,
                    )),
                    false => None,
                };
                linears.push(Linear { weight, bias });
            }
            let mut norms = Vec::with_capacity(2);
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                let path = format!("model.layers.{layer}.{norm}.weight");
                norms.push(rms_norm(read.vector(&path, d).await?, &config, device));
            }
            let [q, k, v, o, gate, up, down]: [Linear; 7] = linears
                .try_into()
                .unwrap_or_else(|_| unreachable!("seven projections"));
            let [input_layernorm, post_attention_layernorm]: [RmsNorm; 2] = norms
                .try_into()
                .unwrap_or_else(|_| unreachable!("two norms"));
            layers.push(Block {
                input_layernorm,
                attention: Attention { q, k, v, o },
                post_attention_layernorm,
                mlp: Mlp { gate, up, down },
                fused,
            });
        }
        let norm = rms_norm(read.vector("model.norm.weight", d).await?, &config, device);
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(read.weight("lm_head", [config.vocab_size, d]).await?),
        };
        let rope = Rope::new(&config, device);
        let mut model = Self {
            embed_tokens,
            layers,
            norm,
            lm_head,
            rope,
            config,
            name: file.name().into(),
            names: file.names().to_vec(),
            arithmetic: read.arithmetic.words(),
            weights,
        };
        if model.on_host() {
            model.arithmetic += "; keys and values rounded to 14 bits";
        }
        Ok(model)
    }

    /// Sizes and constants.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The name of the file it came from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model is called, as [`ModelFile::names`].
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The device that holds the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Which numbers are multiplied, in words: f32, or the quantised formats and how.
    #[must_use]
    pub fn arithmetic(&self) -> &str {
        &self.arithmetic
    }

    /// The linear layer of a block.
    #[must_use]
    pub fn linear(&self, layer: usize, projection: Projection) -> &Linear {
        self.layers[layer].linear(projection)
    }

    /// The gain `[d]` of a norm: of a block, or, without one, of the norm in front of the head.
    #[must_use]
    pub fn gain(&self, norm: Option<(usize, Norm)>) -> Tensor<1> {
        let norm = match norm {
            Some((layer, Norm::Input)) => &self.layers[layer].input_layernorm,
            Some((layer, Norm::PostAttention)) => &self.layers[layer].post_attention_layernorm,
            None => &self.norm,
        };
        norm.gamma.val()
    }

    /// The embedding `[vocab, d]`.
    #[must_use]
    pub fn embedding_weight(&self) -> Tensor<2> {
        self.embed_tokens.dense()
    }

    /// The head's weight `[vocab, d]`: `lm_head`, or the embedding when they are tied.
    #[must_use]
    pub fn head_weight(&self) -> Tensor<2> {
        self.head().dense()
    }

    fn head(&self) -> &Weight {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// Bytes of weights that computing one token reads: every linear layer and the head.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let linears = self.layers.iter().flat_map(|block| {
            Projection::ALL.map(|projection| block.linear(projection).weight.bytes())
        });
        linears.sum::<u64>() + self.head().bytes()
    }

    /// Whether logits are on a GPU.
    #[must_use]
    pub fn is_on_gpu(&self) -> bool {
        kernels::is_gpu(&self.rope.tables().0)
    }

    /// Whether blocks run over slices in host memory where they can.
    fn on_host(&self) -> bool {
        self.weights == Weights::Quantised && !self.embed_tokens.is_on_gpu()
    }

    /// Numbers of tokens whose passes warm a model up: on a GPU, as many as make it build every
    /// kernel of the base.
    #[must_use]
    pub fn warm_up_tokens(&self) -> &'static [usize] {
        match self.embed_tokens.is_on_gpu() {
            true => &kernels::WARM_UP_TOKENS,
            false => &[1],
        }
    }

    /// An empty cache for one sequence.
    #[must_use]
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(&self.config, &self.device(), self.on_host())
    }

    /// Runs `tokens` behind what `cache` holds, extends the cache, and returns the logits of
    /// the wanted positions, `None` for [`Positions::None`].
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

    fn pass(&self, mut lanes: Vec<Lane>, positions: Positions) -> Option<Tensor<2>> {
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
        Ok(self.logits(h, runs, Positions::Last))
    }

    /// Runs embeddings `h [t, d]` of all lanes through the blocks and the head.
    fn logits(&self, h: Tensor<2>, mut runs: Vec<Run>, positions: Positions) -> Option<Tensor<2>> {
        let h = self.blocks(h, &mut runs, |_, _| {});
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
        let h = normed(&self.norm, h, &gains);
        Some(project(h, self.head(), None, &heads))
    }

    /// Opens a lane's part of a pass.
    fn run<'a>(
        &self,
        rows: Range<usize>,
        cache: &'a mut KvCache,
        steering: &'a Steering,
    ) -> Run<'a> {
        let turn = cache.begin(rows.len(), steering.stamp(), &self.rope);
        Run {
            rope: self.on_host().then(|| HostRope::new(&turn)),
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
        let mut outputs = Vec::with_capacity(self.layers.len());
        let weighed = self.weighed(tokens, &mut cache, steering);
        let steering = weighed.as_ref().unwrap_or(steering);
        let h = self.embed(tokens, steering);
        let run = self.run(0..tokens.len(), &mut cache, steering);
        self.blocks(h, &mut [run], |_, h| outputs.push(h.clone()));
        Ok(outputs)
    }

    /// What every layer of the base keeps of embeddings `[n, d]` at positions 0 … n−1: keys
    /// (rotated) and values, each `[kv_heads, n, hd]`; n up to [`EXTRA_POSITIONS`].
    #[must_use]
    pub fn keys_values(&self, embeddings: Tensor<2>) -> Vec<(Tensor<3>, Tensor<3>)> {
        let mut cache = self.new_cache();
        let base = Steering::base();
        let run = self.run(0..embeddings.dims()[0], &mut cache, &base);
        self.blocks(embeddings, &mut [run], |_, _| {});
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
        match total > context {
            true => Err(Error::PromptTooLong {
                tokens: total,
                context,
            }),
            false => Ok(()),
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
            let behind = &cache.tokens[scout.len()..];
            let h = self.embed(behind, heard);
            let run = self.run(0..behind.len(), &mut scout, heard);
            let h = self.blocks(h, &mut [run], |_, _| {});
            cache.put_scout(gate, scout);
            let h = h
                .clone()
                .narrow(0, h.dims()[0] - tokens.len(), tokens.len());
            gate.weigh(normed(&self.norm, h, &[]))
        };
        let weights: Vec<_> = steering.gates.iter().map(weigh).collect();
        (!weights.is_empty()).then(|| steering.weighed(&weights))
    }

    /// The embeddings of `tokens`: `[t, d]`.
    fn embed(&self, tokens: &[u32], steering: &Steering) -> Tensor<2> {
        let h = self.embed_tokens.select(Ids::Host(tokens));
        changed(h, tokens, steering)
    }

    /// Runs all blocks over `h [t, d]`, the rows of all lanes. `tap` sees every block's output.
    fn blocks(
        &self,
        mut h: Tensor<2>,
        runs: &mut [Run],
        mut tap: impl FnMut(usize, &Tensor<2>),
    ) -> Tensor<2> {
        for (layer, block) in self.layers.iter().enumerate() {
            let plans = lanes::of_layer(runs, layer);
            h = block.forward(h, layer, runs, &plans, &self.config);
            tap(layer, &h);
        }
        h
    }
}

/// The embeddings `h [t, d]` of `tokens`, changed.
fn changed(h: Tensor<2>, tokens: &[u32], steering: &Steering) -> Tensor<2> {
    let changes = steering.embedding.iter();
    changes.fold(h, |h, change| change.apply(h, tokens))
}

/// The residual stream of each lane, moved by its plan.
fn moved(h: Tensor<2>, plans: &Plans<LayerPlan>) -> Tensor<2> {
    lanes::change(
        h,
        plans,
        |plan| plan.residual.is_empty(),
        |h, plan| plan.residual.iter().fold(h, |h, shift| shift.apply(h)),
    )
}

/// The norm of each lane's rows, with changes `[d]` of its gain; without any, the base's own.
fn normed(norm: &RmsNorm, h: Tensor<2>, changes: &Plans<Vec<Tensor<1>>>) -> Tensor<2> {
    let base = |h: Tensor<2>, gamma: Tensor<1>| match kernels::is_gpu(&h) {
        true => kernels::norm(h, gamma, norm.epsilon as f32),
        false => {
            let length = (h.clone().square().mean_dim(1) + norm.epsilon).sqrt();
            (h / telling(length)) * gamma.unsqueeze()
        }
    };
    if changes.iter().all(|(_, changes)| changes.is_empty()) {
        return base(h, norm.gamma.val());
    }
    let gain = |changes: &Vec<Tensor<1>>| {
        let changes = changes.iter().cloned();
        changes.fold(norm.gamma.val(), |gain, change| gain + change)
    };
    lanes::change(h, changes, |_| false, |h, changes| base(h, gain(changes)))
}

fn rms_norm(gamma: TensorData, config: &DecoderConfig, device: &Device) -> RmsNorm {
    RmsNorm {
        gamma: Param::from_data(gamma, device),
        epsilon: config.rms_norm_eps,
    }
}
