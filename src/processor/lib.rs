//! What the processor computes for each token, over plain numbers: no tensors, no model, no I/O.
#![deny(unsafe_code)]

pub mod bits;
pub mod history;
pub mod quantised;
pub mod slices;
