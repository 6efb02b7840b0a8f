//! What a coefficient makes of one place of the model: of a weight its singular values, of the rest what
//! there is to say; and whether the promises of the law hold there, in numbers.

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use crate::adapters::Entry;
use crate::arch::DecoderConfig;
use crate::device::read_back;
use crate::error::{Error, Result};
use crate::hooks::{Effect, Law, Map, Placed, Shift, Site, SitePlan, Sited, Steering};
use crate::linalg::svd::values;
use crate::model::{Linear, Model, Weight};
use crate::session::Session;

/// Singular values of a matrix that are told, at most.
const MOST: usize = 64;

/// Numbers of a weight of which there is a picture, at most: beyond it, it would take many seconds.
const LARGEST: usize = 1 << 23;

/// Rows and columns of the small picture of a change, at most.
const SMALL: usize = 48;

/// Inputs on which the law's promises are tried.
const PROBES: usize = 16;

/// Unit vectors that go through a layer at once.
const AT_ONCE: usize = 512;

/// One place under one coefficient.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Picture {
    /// Kind of place, as `q_proj`.
    pub module: &'static str,
    /// Its block.
    pub layer: Option<usize>,
    /// c
    pub c: f32,
    /// How c acts.
    pub law: Law,
    /// Tensors of the adapter's file that belong to this place alone.
    pub tensors: Vec<Named>,
    /// Those that belong to no place, which all places share.
    pub shared: Vec<Named>,
    /// Whether the adapter's mask leaves this place out, so that the picture is what would be.
    pub is_masked: bool,
    /// What the place is.
    pub what: What,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What there is to see at a place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum What {
    /// A linear layer.
    Weight(Box<WeightPicture>),
    /// A linear layer whose change is another one for every token: experts that a gate weighs.
    #[serde(rename_all = "camelCase")]
    Mixture {
        /// `[o, i]` of W.
        shape: [usize; 2],
    },
    /// A linear layer with too many numbers.
    #[serde(rename_all = "camelCase")]
    TooLarge {
        /// `[o, i]` of W.
        shape: [usize; 2],
        /// How many numbers there may be.
        largest: usize,
    },
    /// A step of the residual stream.
    #[serde(rename_all = "camelCase")]
    Step {
        /// Width of the stream.
        width: usize,
        /// Length of the step that is added whatever the stream is.
        length: f64,
        /// The share of what the stream has along the direction that is taken away.
        removed: f32,
        /// Whether the stream is stretched back to the length that it had.
        keeps_length: bool,
    },
    /// Keys and values besides those of the text.
    #[serde(rename_all = "camelCase")]
    Tokens {
        /// How many of each.
        tokens: usize,
        /// Heads of keys and values.
        heads: usize,
        /// Width of a head.
        head_width: usize,
    },
    /// The gain of a norm.
    #[serde(rename_all = "camelCase")]
    Gain {
        /// Numbers of the gain.
        width: usize,
        /// `‖γ(c) − γ‖ / ‖γ‖`
        change: f64,
    },
    /// Rows of the embedding.
    #[serde(rename_all = "camelCase")]
    Rows {
        /// `[vocabulary, d]`
        shape: [usize; 2],
    },
}

/// A weight W `[o, i]` and what c makes of it, W(c).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightPicture {
    /// `[o, i]`
    pub shape: [usize; 2],
    /// The largest singular values of W, falling: as many as are certain, 64 at most.
    pub base: Vec<f64>,
    /// Those of W(c).
    pub steered: Vec<f64>,
    /// How far one of them moved at most, as a share of itself.
    pub moved: f64,
    /// Those of W(c) − W, without what cannot be told from rounding.
    pub change: Vec<f64>,
    /// Whether these are all of the change's, so that their number is its rank.
    pub is_whole: bool,
    /// `‖W(c) − W‖ / ‖W‖`, in Frobenius' norm.
    pub relative: f64,
    /// `‖b(c) − b‖`: what is added to every output.
    pub constant: f64,
    /// Rows and columns of the small picture.
    pub small: [usize; 2],
    /// The mean of W(c) − W in each of its cells, row by row.
    pub means: Vec<f32>,
    /// The root of the mean square.
    pub sizes: Vec<f32>,
    /// What was measured of the law's promises.
    pub checks: Checks,
}

/// Numbers that a law or a method promises, measured on inputs drawn at random, always the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// `‖x'‖/‖x‖`, the least and the most, where the input is mapped.
    pub input_lengths: Option<[f64; 2]>,
    /// `‖y'‖/‖y‖`, where the output is.
    pub output_lengths: Option<[f64; 2]>,
    /// How far −c after c is from nothing, relative to what it began with; where c acts by maps and its
    /// law promises that −c undoes c.
    pub undone: Option<f64>,
    /// How far the change at c is from c times the change at 1, relative to it; for the laws that promise it.
    pub proportional: Option<f64>,
}

/// A place as a user names it: the first one where nothing is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Block, counted from 0.
    pub layer: Option<usize>,
    /// Kind of place, as `q_proj`.
    pub module: Option<&'a str>,
}

impl Place<'_> {
    fn is(self, site: Site) -> bool {
        let module = self.module.is_none_or(|name| name == site.module().name());
        module && (self.layer.is_none() || self.layer == site.layer())
    }
}

/// The picture of a place under an adapter at coefficient c, whatever it is turned to, under its law.
///
/// # Errors
/// [`Error::NoSuchAdapter`]; [`Error::BadCoefficient`] as when it is set; [`Error::BadOption`] for a place
/// where the adapter does not act; what the device reports.
pub async fn picture(session: &Session, id: u32, place: Place<'_>, c: f32) -> Result<Picture> {
    let model = &session.model;
    let plans = {
        let stack = session.stack.borrow();
        let entry = stack.entries().iter().find(|entry| entry.id == id);
        let entry = entry.ok_or(Error::NoSuchAdapter { id })?;
        entry.check(entry.law, c)?;
        Plans::new(entry, place, c, model.config())?
    };
    let what = plans.what(model).await?;
    let Plans {
        tensors,
        shared,
        is_masked,
        site,
        law,
        ..
    } = plans;
    Ok(Picture {
        module: site.module().name(),
        layer: site.layer(),
        c,
        law,
        tensors,
        shared,
        is_masked,
        what,
    })
}

/// What acts at one place, which the stack need not be borrowed for.
struct Plans {
    tensors: Vec<Named>,
    shared: Vec<Named>,
    is_masked: bool,
    site: Site,
    law: Law,
    c: f32,
    /// At c, nothing at 0.
    at: Steering,
    /// At −c.
    back: Steering,
    /// At 1.
    one: Steering,
    /// At c, or at 1 where c is 0: what kind of effects there are.
    effects: Vec<Sited>,
}

impl Plans {
    fn new(entry: &Entry, place: Place<'_>, c: f32, config: &DecoderConfig) -> Result<Self> {
        let Entry {
            adapter, law, mask, ..
        } = entry;
        let here: Vec<&Placed> = match adapter.placed.iter().find(|placed| place.is(placed.site)) {
            None => return Err(nowhere(entry, place)),
            // A site may have several: its own, and a copy that a file brings along.
            Some(first) => adapter
                .placed
                .iter()
                .filter(|placed| placed.site == first.site)
                .collect(),
        };
        let site = here[0].site;
        let effects = |c: f32| -> Vec<Sited> {
            let each = here.iter().filter(|_| c != 0.0);
            each.flat_map(|placed| placed.effects(*law, c)).collect()
        };
        let named = |list: Vec<(&str, &[usize])>| {
            let named = list.into_iter().map(|(name, shape)| Named {
                name: name.into(),
                shape: shape.into(),
            });
            named.collect()
        };
        let [tensors, shared] = adapter.tensors_at(site, config.family);
        Ok(Self {
            tensors: named(tensors),
            shared: named(shared),
            is_masked: !mask.allows(site),
            site,
            law: *law,
            c,
            at: Steering::of(effects(c)),
            back: Steering::of(effects(-c)),
            one: Steering::of(effects(1.0)),
            effects: effects(if c == 0.0 { 1.0 } else { c }),
        })
    }

    fn plan<'a>(&self, steering: &'a Steering) -> &'a SitePlan {
        match self.site {
            Site::Linear(layer, projection) => steering.layer(layer).linear(projection),
            _ => &steering.head,
        }
    }

    async fn what(&self, model: &Model) -> Result<What> {
        match self.site {
            Site::Linear(layer, projection) => {
                self.weight(model.linear(layer, projection).weight.dense())
                    .await
            }
            Site::Head => self.weight(model.head_weight()).await,
            Site::Residual(_) => self.step().await,
            Site::Attention(_) => Ok(self.tokens()),
            Site::Norm(norm) => {
                let (gain, changes) = (model.gain(norm), self.gains());
                let width = gain.dims()[0];
                let before = length(&read_back(gain).await?);
                let mut change = vec![0.0; width];
                for one in changes {
                    let one = read_back(one).await?;
                    change.iter_mut().zip(one).for_each(|(x, y)| *x += y);
                }
                let change = length(&change) / before.max(f64::MIN_POSITIVE);
                Ok(What::Gain { width, change })
            }
            Site::Embedding => {
                let shape = model.embedding_weight().dims();
                Ok(What::Rows { shape })
            }
        }
    }

    fn gains(&self) -> Vec<Tensor<1>> {
        let acting = self.effects.iter().filter(|_| self.c != 0.0);
        let gains = acting.filter_map(|effect| match effect {
            Sited::Gain(_, gain) => Some(gain.0.clone()),
            _ => None,
        });
        gains.collect()
    }

    async fn step(&self) -> Result<What> {
        let shifts: Vec<&Shift> = self
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Sited::Residual(_, shift) => Some(shift),
                _ => None,
            })
            .collect();
        let (mut width, mut total) = (0, 0.0);
        for shift in &shifts {
            let direction = read_back(shift.direction.clone()).await?;
            width = direction.len();
            total += length(&direction) * f64::from(shift.scale.abs());
        }
        let acts = self.c != 0.0;
        Ok(What::Step {
            width,
            length: if acts { total } else { 0.0 },
            removed: shifts.iter().map(|shift| shift.removed).sum::<f32>()
                * f32::from(u8::from(acts)),
            keeps_length: shifts.iter().any(|shift| shift.keep_length),
        })
    }

    fn tokens(&self) -> What {
        let extra = self.effects.iter().filter_map(|effect| match effect {
            Sited::KeyValue(_, extra) => Some(extra.keys.dims()),
            _ => None,
        });
        let (mut heads, mut tokens, mut head_width) = (0, 0, 0);
        for [own_heads, own_tokens, own_width] in extra {
            (heads, head_width) = (own_heads, own_width);
            tokens += own_tokens;
        }
        What::Tokens {
            tokens,
            heads,
            head_width,
        }
    }

    async fn weight(&self, weight: Tensor<2>) -> Result<What> {
        let shape @ [o, i] = weight.dims();
        let is_mixed = |effect: &Sited| matches!(effect, Sited::Linear(_, Effect::Experts(_)));
        if self.effects.iter().any(is_mixed) {
            return Ok(What::Mixture { shape });
        }
        if o * i > LARGEST {
            return Ok(What::TooLarge {
                shape,
                largest: LARGEST,
            });
        }
        let layer = Linear {
            weight: Weight::Dense(weight),
            bias: None,
        };
        let plans = [&self.at, &self.back, &self.one].map(|steering| self.plan(steering));
        let drawn = drawn(&layer, self.law, self.c, plans).await?;
        Ok(What::Weight(Box::new(drawn)))
    }
}

/// The picture of a layer of f32 without bias under a plan for c, one for −c and one for 1.
async fn drawn(layer: &Linear, law: Law, c: f32, plans: [&SitePlan; 3]) -> Result<WeightPicture> {
    let weight = layer.weight.dense();
    let shape @ [o, i] = weight.dims();
    let before = read_back(weight.transpose()).await?;
    let (after, constant) = unrolled(layer, plans[0], &before).await?;
    let change: Vec<f32> = before.iter().zip(&after).map(|(w, x)| x - w).collect();
    let base = values(&before, [i, o], MOST);
    let steered = if before == after {
        base.clone()
    } else {
        values(&after, [i, o], MOST)
    };
    let all = values(&change, [i, o], MOST);
    // W(c) is kept in f32: no change below its rounding is there to be seen.
    let noise = base.first().copied().unwrap_or(0.0) * 2e-6;
    let least = all.first().map_or(0.0, |largest| largest * 1e-4).max(noise);
    let told = all.iter().copied().take_while(|value| *value > least);
    let told: Vec<f64> = told.collect();
    let (small, means, sizes) = small(&change, shape);
    let pairs = base.iter().zip(&steered);
    let shares =
        pairs.map(|(before, after)| (after - before).abs() / before.max(f64::MIN_POSITIVE));
    Ok(WeightPicture {
        shape,
        moved: shares.fold(0.0, f64::max),
        is_whole: told.len() < all.len() || all.len() == o.min(i),
        base,
        steered,
        change: told,
        relative: length(&change) / length(&before).max(f64::MIN_POSITIVE),
        constant: length(&constant),
        small,
        means,
        sizes,
        checks: checks(layer, law, c, plans).await?,
    })
}

async fn checks(layer: &Linear, law: Law, c: f32, plans: [&SitePlan; 3]) -> Result<Checks> {
    let mut checks = Checks::default();
    if c == 0.0 {
        return Ok(checks);
    }
    let [at, back, one] = plans;
    let (i, device) = (layer.weight.dense().dims()[1], layer.weight.device());
    let x = Tensor::<2>::from_data(TensorData::new(probes(i), [PROBES, i]), &device);
    let y = layer.forward(x.clone(), &SitePlan::default());
    let undoes = matches!(law, Law::Geodesic | Law::Power | Law::LogPolar);
    let sides = [
        (&x, &at.inputs, &back.inputs, &mut checks.input_lengths),
        (&y, &at.outputs, &back.outputs, &mut checks.output_lengths),
    ];
    for (z, there, again, lengths) in sides {
        if there.is_empty() {
            continue;
        }
        let moved = through(z.clone(), there);
        let from = read_back(z.clone()).await?;
        *lengths = Some(ratios(&from, &read_back(moved.clone()).await?));
        if undoes {
            let home = read_back(through(moved, again)).await?;
            let off = apart(&home, &from) / length(&from).max(f64::MIN_POSITIVE);
            checks.undone = Some(off.max(checks.undone.unwrap_or(0.0)));
        }
    }
    if matches!(law, Law::Linear | Law::Gate) {
        let base = read_back(y).await?;
        let moved = read_back(layer.forward(x.clone(), at)).await?;
        let trained = read_back(layer.forward(x, one)).await?;
        let asked = base.iter().zip(&trained).map(|(y0, y1)| c * (y1 - y0));
        let asked: Vec<f32> = asked.collect();
        let found: Vec<f32> = base.iter().zip(&moved).map(|(y0, y)| y - y0).collect();
        let size = length(&asked);
        checks.proportional = (size > 0.0).then(|| apart(&found, &asked) / size);
    }
    Ok(checks)
}

/// The refusal of a place where the adapter does not act.
fn nowhere(entry: &Entry, place: Place<'_>) -> Error {
    let layer = place.layer.map(|layer| format!("block {layer}"));
    let asked = place.module.map(str::to_owned).into_iter().chain(layer);
    let places = entry.adapter.places();
    let names: Vec<&str> = places.iter().map(|(name, _)| *name).collect();
    Error::BadOption {
        name: "place",
        expected: "one where the adapter acts",
        found: format!(
            "{}, while {} acts on {} in blocks {}",
            asked.collect::<Vec<_>>().join(" of "),
            entry.adapter.name,
            names.join(", "),
            entry.adapter.layers_text()
        ),
    }
}

/// What a layer without bias makes of each unit vector, row by row, W(c)ᵀ `[i, o]`; and what it adds to
/// every output. `base` is Wᵀ.
async fn unrolled(layer: &Linear, plan: &SitePlan, base: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
    let ([o, i], device) = (layer.weight.dense().dims(), layer.weight.device());
    if plan.is_empty() {
        return Ok((base.to_vec(), vec![0.0; o]));
    }
    let nothing = layer.forward(Tensor::zeros([1, i], &device), plan);
    let mut rows = Vec::with_capacity(o * i);
    for first in (0..i).step_by(AT_ONCE) {
        let count = AT_ONCE.min(i - first);
        let unit = |at: usize| f32::from(u8::from(at % i == first + at / i));
        let units = TensorData::new((0..count * i).map(unit).collect(), [count, i]);
        let made = layer.forward(Tensor::from_data(units, &device), plan);
        rows.extend(read_back(made - nothing.clone()).await?);
    }
    Ok((rows, read_back(nothing).await?))
}

fn through(z: Tensor<2>, maps: &[Map]) -> Tensor<2> {
    maps.iter().fold(z, |z, map| map.apply(z))
}

/// Numbers about as a model's activations: as often below 0 as above, always the same.
fn probes(i: usize) -> Vec<f32> {
    let mut state = 7_u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..PROBES * i).map(|_| draw()).collect()
}

fn length(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// The least and the most of `‖to‖/‖from‖` over the probes.
fn ratios(from: &[f32], to: &[f32]) -> [f64; 2] {
    let width = from.len() / PROBES;
    let each = from.chunks(width).zip(to.chunks(width));
    let ratios = each.map(|(from, to)| length(to) / length(from).max(f64::MIN_POSITIVE));
    ratios.fold([f64::INFINITY, 0.0], |[least, most], ratio| {
        [least.min(ratio), most.max(ratio)]
    })
}

/// The change `[i, o]`, row by row, as a small picture of `[o, i]`: the mean and the root mean square of each
/// of its cells.
fn small(change: &[f32], [o, i]: [usize; 2]) -> ([usize; 2], Vec<f32>, Vec<f32>) {
    let [rows, columns] = [o.min(SMALL), i.min(SMALL)];
    let mut cells = vec![(0.0_f64, 0.0_f64, 0_u32); rows * columns];
    for (at, x) in change.iter().enumerate() {
        let (column, row) = (at / o * columns / i, at % o * rows / o);
        let (sum, squares, count) = &mut cells[row * columns + column];
        *sum += f64::from(*x);
        *squares += f64::from(*x).powi(2);
        *count += 1;
    }
    let means = cells
        .iter()
        .map(|(sum, _, count)| (sum / f64::from(*count)) as f32);
    let sizes = cells
        .iter()
        .map(|(_, squares, count)| (squares / f64::from(*count)).sqrt() as f32);
    ([rows, columns], means.collect(), sizes.collect())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::device::cpu;
    use crate::hooks::Delta;

    /// The layer diag(3, 2) under effects at c, at −c and at 1.
    fn of(law: Law, c: f32, effects: impl Fn(f32) -> Effect) -> WeightPicture {
        let weight = matrix([[3.0, 0.0], [0.0, 2.0]]);
        let layer = Linear {
            weight: Weight::Dense(weight),
            bias: None,
        };
        let steering = [c, -c, 1.0].map(|c| Steering::of([Sited::Linear(None, effects(c))]));
        let plans = steering.each_ref().map(|steering| &steering.head);
        pollster::block_on(drawn(&layer, law, c, plans)).expect("in host memory")
    }

    fn matrix<const R: usize, const C: usize>(rows: [[f32; C]; R]) -> Tensor<2> {
        Tensor::from_data(TensorData::from(rows), &cpu())
    }

    fn vector<const N: usize>(numbers: [f32; N]) -> Tensor<1> {
        Tensor::from_data(TensorData::from(numbers), &cpu())
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        let off = |(x, y): (&f64, &f64)| (x - y).abs() > 1e-5;
        let differs = found.len() != expected.len() || found.iter().zip(expected).any(off);
        assert!(!differs, "{found:?} instead of {expected:?}");
    }

    /// LoRA: 0.5·(1, 0)ᵀ(1, 0) makes 3.5 of 3.
    #[test]
    fn a_change_of_rank_one_moves_one_singular_value() {
        let low_rank = |c| {
            Effect::Weight(Delta::LowRank {
                a: matrix([[1.0, 0.0]]),
                b: matrix([[1.0], [0.0]]),
                mid: None,
                out: None,
                scale: c,
            })
        };
        let picture = of(Law::Linear, 0.5, low_rank);
        near(&picture.base, &[3.0, 2.0]);
        near(&picture.steered, &[3.5, 2.0]);
        near(&[picture.moved], &[0.5 / 3.0]);
        near(&picture.change, &[0.5]);
        assert!(picture.is_whole, "of rank 1");
        near(&[picture.relative], &[0.5 / 13.0_f64.sqrt()]);
        assert_eq!(picture.means, [0.5, 0.0, 0.0, 0.0]);
        near(&[picture.checks.proportional.expect("promised")], &[0.0]);
        assert_eq!(picture.checks.input_lengths, None, "nothing maps the input");
    }

    /// HRA, OFT: a turn of the input by c quarter turns.
    #[test]
    fn a_turn_keeps_singular_values_and_lengths() {
        let turn = |c: f32| {
            let (across, along) = (c * std::f32::consts::FRAC_PI_2).sin_cos();
            Effect::Input(Map::Rotate {
                along: vector([along; 2]),
                across: vector([across; 2]),
                group: 2,
            })
        };
        let picture = of(Law::Geodesic, 1.0, turn);
        near(&picture.steered, &[3.0, 2.0]);
        // [[3, 0], [0, 2]] becomes [[0, −3], [2, 0]].
        assert_eq!(picture.means.len(), 4);
        near(&picture.change, &[18.0_f64.sqrt(), 8.0_f64.sqrt()]);
        near(&picture.checks.input_lengths.expect("a map"), &[1.0, 1.0]);
        near(&[picture.checks.undone.expect("promised")], &[0.0]);
        assert_eq!(picture.checks.proportional, None, "not promised");
    }

    /// IA3 under the power law: gains (2, ½) to the power c.
    #[test]
    fn gains_scale_singular_values() {
        let gains = |c: f32| {
            Effect::Output(Map::Scale {
                gain: vector([2.0_f32.powf(c), 0.5_f32.powf(c)]),
            })
        };
        let picture = of(Law::Power, 1.0, gains);
        near(&picture.steered, &[6.0, 1.0]);
        near(&picture.change, &[3.0, 1.0]);
        near(&[picture.checks.undone.expect("promised")], &[0.0]);
        let [least, most] = picture.checks.output_lengths.expect("a map");
        assert!(
            0.5 < least && least < most && most < 2.0,
            "{least} to {most}"
        );
    }

    #[test]
    fn a_bias_is_no_change_of_the_weight() {
        let bias = |c| {
            Effect::Weight(Delta::Bias {
                bias: vector([3.0, 4.0]),
                scale: c,
            })
        };
        let picture = of(Law::Linear, -1.0, bias);
        near(&picture.change, &[]);
        near(&[picture.constant, picture.relative], &[5.0, 0.0]);
        assert!(picture.is_whole, "rank 0");
    }

    #[test]
    fn a_small_picture_has_the_means_of_its_cells() {
        // W(c) − W is [[1, 2, 3], [−4, 5, 6]], kept by columns.
        let (shape, means, sizes) = small(&[1.0, -4.0, 2.0, 5.0, 3.0, 6.0], [2, 3]);
        assert_eq!(shape, [2, 3]);
        assert_eq!(means, [1.0, 2.0, 3.0, -4.0, 5.0, 6.0]);
        assert_eq!(sizes, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        // 96 outputs on 48 rows: two in each cell.
        let (shape, means, sizes) = small(&[[3.0, -1.0]; 48].concat(), [96, 1]);
        assert_eq!(shape, [48, 1]);
        assert_eq!(means, [1.0; 48]);
        assert!(
            sizes
                .iter()
                .all(|size| (size - 5.0_f32.sqrt()).abs() < 1e-6)
        );
    }

    #[test]
    fn probes_are_on_both_sides_of_0() {
        let probes = probes(64);
        let mean = probes.iter().sum::<f32>() / probes.len() as f32;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!(probes.iter().all(|x| (-1.0..1.0).contains(x)));
    }
}
