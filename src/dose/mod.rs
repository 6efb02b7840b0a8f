//! What a coefficient really does: contrastive measures, doses in nats, the blocks that carry an effect.
//!
//! ```text
//! pairs.rs       the file of contrasting answers that everything here is measured on
//! subject.rs     which adapters c turns, and the passes that read texts under them
//! statistics.rs  slopes, intervals, orders, from numbers alone
//! strength.rs    how far c moves the reading of neutral answers
//! undone.rs      whether −c takes back what c did
//! measured.rs    one object: what a grid of c does to an answer's tone, to neutral text, to fluency
//! calibrate.rs   c for a strength in nats
//! layers.rs      the same strength in one block after the other
//! picture.rs     what c makes of one weight
//! ```
//!
//! Measures are teacher-forced: the model reads given answers, and nothing is drawn at random but the
//! texts whose repetitions are counted. `d(c)` is the mean over prompts of the mean log-probability of
//! a prompt's positive answer minus that of its negative one, in nats per token (Tan et al. 2407.12404
//! use the like); strength is the KL of the next-token distributions on neutral answers, in nats.

mod calibrate;
mod layers;
mod measured;
mod pairs;
mod picture;
mod statistics;
mod strength;
mod subject;
mod undone;

pub use calibrate::{Calibration, Side, calibrate, calibrate_side};
pub use layers::{LayerEffect, LayerMap, Suggestion, layer_map};
pub use measured::{MeasureOptions, Measurement, ModelFacts, measure};
pub use pairs::{Contrast, Instructions, Neutral, Pair, Split};
pub use picture::{Checks, Named, Picture, Place, WeightPicture, What, picture};
pub(crate) use strength::Strengths;
pub(crate) use subject::Passage;
pub use subject::{AdapterFacts, Progress, Subject};
