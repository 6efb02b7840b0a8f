//! The browser: a class for JavaScript over the same session that runs natively. This folder is
//! the only place that knows wasm-bindgen.
//!
//! ```text
//! choice.rs      which device, and why (plain Rust)
//! room.rs        whether a model has room on the GPU (plain Rust)
//! resume.rs      what to do with half a download or a damaged one (plain Rust)
//! sums.rs        whether a kept copy is what was downloaded (plain Rust)
//! shim.js        error class, async iterator, GPU watch: what Rust cannot express
//! glue.rs        errors, promises, values between Rust and JavaScript
//! blob.rs        a Blob or File as a source of bytes
//! storage.rs     files kept in the browser (OPFS) and their sidecars
//! hub.js         a listing by its pages, kept; why a request had no answer
//! download.rs    fetch, keep, hash, resume
//! hub.rs         files of a repository of the Hub, or by their addresses
//! relaxed.rs     integer products in relaxed SIMD
//! device.rs      asking the browser for its devices, opening one
//! input.rs       JavaScript values as Rust values: requests, addresses, files, adapters
//! dose.rs        measuring: options, progress, abort
//! vector.rs      making a vector
//! train.rs       training: an object that iterates over its steps
//! load.rs        an address, a file or a folder -> a session
//! playground.rs  the exported class
//! types.rs       TypeScript types of options and steps
//! ```

pub mod choice;
pub mod resume;
pub mod room;
pub mod sums;

#[cfg(target_arch = "wasm32")]
mod blob;
#[cfg(target_arch = "wasm32")]
mod device;
#[cfg(target_arch = "wasm32")]
mod dose;
#[cfg(target_arch = "wasm32")]
mod download;
#[cfg(target_arch = "wasm32")]
mod glue;
#[cfg(target_arch = "wasm32")]
mod hub;
#[cfg(target_arch = "wasm32")]
mod input;
#[cfg(target_arch = "wasm32")]
mod load;
#[cfg(target_arch = "wasm32")]
mod playground;
#[cfg(target_arch = "wasm32")]
pub mod relaxed;
#[cfg(target_arch = "wasm32")]
mod storage;
#[cfg(target_arch = "wasm32")]
mod train;
#[cfg(target_arch = "wasm32")]
mod types;
#[cfg(target_arch = "wasm32")]
mod vector;

#[cfg(target_arch = "wasm32")]
pub use playground::{Playground, Steps};
#[cfg(target_arch = "wasm32")]
pub use train::Training;
