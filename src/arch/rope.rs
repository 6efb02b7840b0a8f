//! Rotary embeddings out of a config: wavelengths, and what stretches them for longer contexts, as
//! transformers 5.23 and llama.cpp compute it.
//!
//! Of the plain inverse wavelengths `w[k] = theta^(−2k/hd)`, with a factor f and a length L that the
//! model was first trained on:
//!
//! ```text
//! linear   w / f
//! llama3   n = L w / 2π turns in L tokens; w / f where n < low, w where n > high, between them
//!          s w + (1 − s) w / f with s = (n − low) / (high − low)
//! yarn     r w / f + (1 − r) w, where r rises from 0 to 1 over the pairs between those of beta_fast
//!          and of beta_slow turns in L tokens; cosines and sines times 0.1 ln f + 1
//! factors  w / factors[k]: how llama.cpp's files hold llama3 (`rope_freqs.weight`)
//! ```
//!
//! Refused are scalings that depend on how long a sequence has become (`dynamic`, `longrope`): keys
//! in the cache were rotated by other wavelengths than the next query would be.

use std::f64::consts::PI;

use super::config::{DecoderConfig, RopeConfig};
use super::fields::{Fields, Json, Keys};
use super::sizes::same_as_head;
use crate::error::{Error, Result};

/// The fields of config.json that [`from_json`] reads.
pub(super) const JSON: &[&str] = &[
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "original_max_position_embeddings",
];

/// The metadata that [`from_gguf`] reads.
pub(super) const GGUF: &[&str] = &[
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier",
];

/// Where a GGUF file has one number per pair that divides the inverse wavelengths.
pub(super) const FACTORS: &str = "rope_freqs.weight";

const DEFAULT_THETA: f64 = 10_000.0;
const KINDS: &str = "default, linear, llama3, yarn, or a factor of 1";

/// The rotary embedding of config.json: `rope_theta` and `rope_scaling`, or since transformers 5
/// `rope_parameters`.
pub(super) fn from_json(fields: &Json<'_>, config: &DecoderConfig) -> Result<RopeConfig> {
    from_json_or(fields, config, DEFAULT_THETA)
}

/// The same for a family with another default of theta.
pub(super) fn from_json_or(
    fields: &Json<'_>,
    config: &DecoderConfig,
    default_theta: f64,
) -> Result<RopeConfig> {
    of_share(fields, config, default_theta, 1.0)
}

/// The same over a share of each head, as wide as the heads of `config`.
pub(super) fn of_share(
    fields: &Json<'_>,
    config: &DecoderConfig,
    default_theta: f64,
    share: f64,
) -> Result<RopeConfig> {
    let theta = fields.optional_positive("rope_theta")?;
    let theta = theta.unwrap_or(default_theta);
    let read = |field: &str| {
        let inside = fields.object(field)?.filter(|inside| !inside.is_empty());
        let read = |inside| parameters(fields, &inside, theta, share, config);
        inside.map(read).transpose()
    };
    match (read("rope_scaling")?, read("rope_parameters")?) {
        (None, None) => Ok(RopeConfig::plain(theta, config.head_dim)),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(one), Some(other)) if one == other => Ok(one),
        // Transformers would take `rope_scaling` alone, with its own or the outer theta.
        _ => Err(fields.refuse(
            "rope_parameters",
            "another rotary embedding than that of `rope_scaling`",
            "configs with one of the two, or the same in both",
        )),
    }
}

/// The rotary embedding that an object of config.json describes.
pub(super) fn parameters(
    outer: &Json<'_>,
    fields: &Json<'_>,
    theta: f64,
    share: f64,
    config: &DecoderConfig,
) -> Result<RopeConfig> {
    let theta = fields.optional_positive("rope_theta")?.unwrap_or(theta);
    if let Some(found) = fields.number("partial_rotary_factor")?
        && found != share
    {
        return Err(fields.refuse("partial_rotary_factor", found, &share.to_string()));
    }
    let (kind, old) = (fields.text("rope_type")?, fields.text("type")?);
    if let (Some(kind), Some(old)) = (kind, old)
        && kind != old
    {
        return Err(fields.refuse("type", old, &format!("the same as `rope_type`, {kind}")));
    }
    let field = if kind.is_some() { "rope_type" } else { "type" };
    let plain = RopeConfig::plain(theta, config.head_dim);
    let factor = || fields.positive("factor", "by which the wavelengths are stretched");
    let scaled = |scaling| scaled(fields, field, theta, config, scaling);
    match kind.or(old).unwrap_or("default") {
        "default" => Ok(plain),
        "linear" => scaled(Scaling::Linear { factor: factor()? }),
        "llama3" => {
            let factor = factor()?;
            if factor == 1.0 {
                return Ok(plain);
            }
            let end = |end| fields.positive(end, "turns in the original context");
            let (low, high) = (end("low_freq_factor")?, end("high_freq_factor")?);
            if high <= low {
                let supported = format!("numbers above `low_freq_factor`, {low}");
                return Err(fields.refuse("high_freq_factor", high, &supported));
            }
            scaled(Scaling::Llama3 {
                factor,
                low,
                high,
                original: original(outer, fields, config)?,
            })
        }
        "yarn" => {
            let factor = factor()?;
            let attention = match fields.optional_positive("attention_factor")? {
                Some(attention) => attention,
                None => {
                    // As transformers: 0 is as good as absent.
                    let mscale = fields.number("mscale")?.filter(|scale| *scale != 0.0);
                    let all = fields.number("mscale_all_dim")?;
                    match (mscale, all.filter(|scale| *scale != 0.0)) {
                        (Some(mscale), Some(all)) => {
                            yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all)
                        }
                        _ => yarn_magnitude(factor, 1.0),
                    }
                }
            };
            let beta = |field, default| {
                let found = fields.number(field)?.filter(|beta| *beta != 0.0);
                match found {
                    Some(_) => fields.positive(field, ""),
                    None => Ok(default),
                }
            };
            let (fast, slow) = (beta("beta_fast", 32.0)?, beta("beta_slow", 1.0)?);
            scaled(Scaling::Yarn {
                factor,
                attention,
                turns: [fast, slow],
                truncate: fields.flag("truncate")?.unwrap_or(true),
                original: original(outer, fields, config)?,
            })
        }
        found => {
            let by = fields.number("factor")?;
            if found == "dynamic" && by == Some(1.0) {
                return Ok(plain);
            }
            let why = match found {
                "dynamic" | "longrope" | "su" => format!(
                    "; {found} changes the wavelengths as a sequence grows, and the keys in the \
                     cache would keep the old ones"
                ),
                _ => String::new(),
            };
            let found = match by {
                Some(factor) => format!("{found} by {factor}"),
                None => found.into(),
            };
            Err(fields.refuse(field, found, &format!("{KINDS}{why}")))
        }
    }
}

/// The context that the model had before its wavelengths were stretched.
fn original(outer: &Json<'_>, fields: &Json<'_>, config: &DecoderConfig) -> Result<f64> {
    const FIELD: &str = "original_max_position_embeddings";
    let (inside, outside) = (fields.optional_size(FIELD)?, outer.optional_size(FIELD)?);
    match (inside, outside) {
        (Some(inside), Some(outside)) if inside != outside => {
            let supported = format!("the same as `{}`, {inside}", fields.name(FIELD));
            Err(outer.refuse(FIELD, outside, &supported))
        }
        _ => Ok(inside.or(outside).unwrap_or(config.context) as f64),
    }
}

/// The rotary embedding of a GGUF file's metadata, without [`FACTORS`].
pub(super) fn from_gguf(keys: &Keys<'_>, config: &DecoderConfig) -> Result<RopeConfig> {
    same_as_head(keys, "rope.dimension_count", config.head_dim)?;
    let theta = keys.optional_positive("rope.freq_base")?;
    let theta = theta.unwrap_or(DEFAULT_THETA);
    // As llama.cpp: without a type it is linear, and 0 is no factor.
    const TYPE: &str = "rope.scaling.type";
    const FACTOR: &str = "rope.scaling.factor";
    let kind = keys.text(TYPE)?.unwrap_or("linear");
    let mut factor = None;
    for field in [FACTOR, "rope.scale_linear"] {
        if let Some(found) = keys.number(field)?
            && found != 0.0
        {
            factor = factor.or(keys.optional_positive(field)?.map(|found| (field, found)));
        }
    }
    let mut rope = match (kind, factor) {
        ("none", _) | ("linear", None) => RopeConfig::plain(theta, config.head_dim),
        ("linear", Some((field, factor))) => {
            scaled(keys, field, theta, config, Scaling::Linear { factor })?
        }
        ("yarn", Some((_, factor))) => {
            let attention = yarn_magnitude(factor, 1.0);
            // Transformers has the like and llama.cpp reads these for a few other families only:
            // the two would compute different models.
            for (field, usual) in [
                ("rope.scaling.yarn_ext_factor", 1.0),
                ("rope.scaling.yarn_attn_factor", attention),
                ("rope.scaling.yarn_beta_fast", 32.0),
                ("rope.scaling.yarn_beta_slow", 1.0),
                ("rope.scaling.yarn_log_multiplier", 0.0),
            ] {
                if let Some(found) = keys.number(field)?
                    && (found - usual).abs() > 1e-6
                {
                    let supported = format!("{usual}, which llama.cpp takes whatever stands here");
                    return Err(keys.refuse(field, found, &supported));
                }
            }
            let original = keys.optional_size("rope.scaling.original_context_length")?;
            let scaling = Scaling::Yarn {
                factor,
                attention,
                turns: [32.0, 1.0],
                truncate: true,
                original: original.unwrap_or(config.context) as f64,
            };
            scaled(keys, FACTOR, theta, config, scaling)?
        }
        ("yarn", None) => return Err(keys.refuse(TYPE, kind, "yarn by a factor, none or linear")),
        (found, _) => return Err(keys.refuse(TYPE, found, "none, linear and yarn")),
    };
    if let Some(attention) = keys.optional_positive("rope.scaling.attn_factor")? {
        rope.factor *= attention;
    }
    Ok(rope)
}

/// Divides the inverse wavelengths by the numbers of [`FACTORS`].
pub(super) fn divide(rope: &mut RopeConfig, file: &str, factors: &[f32]) -> Result<()> {
    let pairs = rope.inverse_wavelengths.len();
    if factors.len() != pairs {
        return Err(Error::WrongShape {
            file: file.into(),
            key: FACTORS.into(),
            expected: format!("[{pairs}]"),
            found: vec![factors.len()],
            hint: "one factor for each pair of a head that is rotated",
        });
    }
    for (inverse, factor) in rope.inverse_wavelengths.iter_mut().zip(factors) {
        let quotient = (f64::from(*inverse) / f64::from(*factor)) as f32;
        if !(*factor > 0.0 && quotient.is_finite()) {
            return Err(Error::UnsupportedModel {
                file: file.into(),
                field: FACTORS.into(),
                found: factor.to_string(),
                supported: "factors above 0".into(),
            });
        }
        *inverse = quotient;
    }
    Ok(())
}

/// What stretches wavelengths. Lengths are in tokens.
#[derive(Debug, Clone, Copy)]
enum Scaling {
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    Yarn {
        factor: f64,
        attention: f64,
        /// Of the first pair that is stretched at all, and of the first stretched by the factor.
        turns: [f64; 2],
        /// Whether these pairs are whole numbers.
        truncate: bool,
        original: f64,
    },
}

/// `0.1 m ln f + 1`, as of YaRN's paper.
fn yarn_magnitude(factor: f64, mscale: f64) -> f64 {
    if factor > 1.0 {
        0.1 * mscale * factor.ln() + 1.0
    } else {
        1.0
    }
}

/// Stretched wavelengths; `field` is where the file says that they are.
fn scaled(
    fields: &impl Fields,
    field: &str,
    theta: f64,
    config: &DecoderConfig,
    scaling: Scaling,
) -> Result<RopeConfig> {
    let width = config.head_dim as f64;
    let each = |stretch: &dyn Fn(f64, f64) -> f64| -> Vec<f32> {
        let pairs = (0..config.head_dim / 2).map(|pair| pair as f64);
        let inverse = |pair: f64| stretch(pair, theta.powf(-2.0 * pair / width)) as f32;
        pairs.map(inverse).collect()
    };
    let (inverse_wavelengths, factor) = match scaling {
        Scaling::Linear { factor } => (each(&|_, w| w / factor), 1.0),
        Scaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => {
            let stretched = |_, w: f64| {
                let turns = original * w / (2.0 * PI);
                let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                share * w + (1.0 - share) * w / factor
            };
            (each(&stretched), 1.0)
        }
        Scaling::Yarn {
            factor,
            attention,
            turns,
            truncate,
            original,
        } => {
            let pair =
                |turns: f64| width * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
            let [first, last] = turns.map(pair);
            let (first, last) = if truncate {
                (first.floor(), last.ceil())
            } else {
                (first, last)
            };
            let (first, last) = (first.max(0.0), last.min(width - 1.0));
            let span = if first == last { 0.001 } else { last - first };
            let stretched = |pair: f64, w: f64| {
                let share = ((pair - first) / span).clamp(0.0, 1.0);
                share * w / factor + (1.0 - share) * w
            };
            if first > last {
                let found = format!("a scaling for {original} tokens between {turns:?} turns");
                let supported = "scalings that begin before they end";
                return Err(fields.refuse(field, found, supported));
            }
            (each(&stretched), attention)
        }
    };
    let usable = |w: &f32| w.is_finite() && *w >= 0.0;
    if !(factor.is_finite() && factor > 0.0 && inverse_wavelengths.iter().all(usable)) {
        let found = "a scaling whose wavelengths are no numbers";
        return Err(fields.refuse(field, found, "finite wavelengths"));
    }
    Ok(RopeConfig {
        inverse_wavelengths,
        factor,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::arch::all_names;
    use crate::arch::sizes;

    /// Pairs of a head of width 8 and theta 10000: wavelengths 1, 0.1, 0.01 and 0.001.
    fn scaled_by(scaling: Scaling) -> Vec<f32> {
        let fields = json!({"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "vocab_size": 8, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5});
        let none = Map::new();
        let fields = Json::new("config.json", fields.as_object().unwrap_or(&none));
        let names = all_names().next().expect("a family");
        let config = sizes::from_json(&fields, names).expect("sizes");
        let rope = scaled(&fields, "type", 10_000.0, &config, scaling).expect("finite");
        rope.inverse_wavelengths
    }

    #[test]
    fn scalings_are_what_a_pencil_says() {
        let (factor, attention) = (4.0, 1.0);
        // As many turns as 4 times the wavelength: 4, 0.4, 0.04 and 0.004.
        let llama3 = Scaling::Llama3 {
            factor,
            low: 0.2,
            high: 0.6,
            original: 4.0 * 2.0 * PI,
        };
        // Pairs 1 and 3 turn 100 times and once; between them half is stretched.
        let yarn = |truncate, original: f64| Scaling::Yarn {
            factor,
            attention,
            turns: [100.0, 1.0],
            truncate,
            original: original * 2.0 * PI,
        };
        let (half, third) = (0.01 * (0.5 / 4.0 + 0.5), 0.01 * (1.0 / 12.0 + 2.0 / 3.0));
        for (scaling, expected) in [
            (Scaling::Linear { factor }, [0.25, 0.025, 0.0025, 0.00025]),
            (llama3, [1.0, 0.1 * (0.5 + 0.5 / 4.0), 0.0025, 0.00025]),
            (yarn(false, 1000.0), [1.0, 0.1, half, 0.00025]),
            // Truncated to pairs 1 and 4.
            (
                yarn(true, 1500.0),
                [1.0, 0.1, third, 0.001 * (1.0 / 6.0 + 1.0 / 3.0)],
            ),
        ] {
            for (found, expected) in scaled_by(scaling).into_iter().zip(expected) {
                let expected: f32 = expected;
                assert!(
                    (found / expected - 1.0).abs() < 1e-5,
                    "{scaling:?}: {found} {expected}"
                );
            }
        }
    }
}
