//! One test binary, one module per concern.

mod common;
mod contract;
mod docs;
mod golden;
mod gpu;
mod kernels;
mod laws;
mod loading;
mod model;
mod mutations;
mod numbers;
mod quantised;
mod session;
mod text;
mod weights;
