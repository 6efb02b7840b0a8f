//! Training an adapter of any method from pairs of contrasting answers.
//!
//! The model stays as it is, quantised if it is: only the adapter's parameters are leaves of a graph. A
//! method's `load` is the function from parameters to effects, here as everywhere. Blocks below the first
//! adapted one run once for each text.
//!
//! ```text
//! loss = mean over pairs of  −ln σ(β·s·(d_s − d_0)) + n·NLL(wanted answer)
//!        + k·KL(base ‖ steered) on a neutral answer
//! s = −1 or +1 for each step, d_s = mean ln p(positive) − mean ln p(negative) at c = s, in nats per token
//! ```
//!
//! Several behaviours are the tasks of a method that has tasks: each step is of one of them, in turn, and runs
//! with that task chosen. A gate that mixes trained experts is trained on several in the same way, without tasks:
//! it reads in the text which experts are asked for.
//!
//! ```text
//! options.rs  what is trained, how long, with which weights of the loss
//! texts.rs    the texts, as they come into the first adapted block
//! loss.rs     the loss of a step
//! leaves.rs   parameters, their moments, one step of AdamW
//! report.rs   what a step and a look at the stop rows say, and what all take
//! speed.rs    a forward and a backward pass over texts of one length, for timing
//! trainer.rs  steps, choices on the stop rows, the best state
//! written.rs  a folder of PEFT's, and a state to go on from
//! ```

mod leaves;
mod loss;
mod options;
mod report;
mod speed;
mod texts;
mod trainer;
mod written;

pub use options::TrainOptions;
pub use report::{Check, Estimate, TrainStep};
pub use speed::Passes;
pub use trainer::Trainer;
pub use written::{Files, Record};
