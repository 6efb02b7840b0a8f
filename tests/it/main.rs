//! One test binary, one module per concern.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    unreachable_pub,
    reason = "nothing is outside of a test: `pub` is for its other modules"
)]

mod common;
mod contract;
mod docs;
mod dose;
mod extraction;
mod families;
mod family_adapters;
mod floors;
mod golden;
mod gpu;
mod gradients;
mod header;
mod kernels;
mod laws;
mod loading;
mod model;
mod mutations;
mod numbers;
mod quantised;
mod real_gemma;
mod record;
mod session;
mod steer;
mod text;
mod weights;
