//! Control vectors from contrasting texts: what a model's residual stream has when it reads one kind of
//! text and not when it reads the opposite.
//!
//! ```text
//! texts.rs       files of texts, of repeng's personas -> pairs of texts
//! passage.rs     a text as tokens, and which of them count
//! options.rs     method, place in the text, blocks, length
//! states.rs      texts -> hidden states, sharing what they have in common
//! contrast.rs    the states of one block, in pairs
//! mean.rs        mean difference
//! pca.rs         principal components of differences, as repeng
//! probe.rs       a logistic probe
//! pullback.rs    a later block's contrast, pulled back through the Jacobian
//! no_pullback.rs in its place in a browser
//! refusal.rs     what is said of texts that do not do
//! extraction.rs  all of it, one pass at a time
//! vector.rs      the vector: its files, sums of several
//! calibrated.rs  the vector at a strength in nats
//! ```

mod calibrated;
mod contrast;
mod extraction;
mod mean;
mod options;
mod passage;
mod pca;
mod probe;
mod pullback;
mod refusal;
mod states;
mod texts;
mod vector;

pub use extraction::{Extraction, Progress, control_vector};
pub use options::{At, Length, Method, Options, middle_layers};
pub use passage::{Pair, Passage};
pub use texts::{Pairs, Personas, Texts, encoded, lines};
pub use vector::ControlVector;
