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
mod hub;
mod kernels;
mod kinds;
mod laws;
mod links;
mod loading;
mod mixed;
mod model;
mod mutations;
mod numbers;
mod picture;
mod positions;
mod quantised;
mod real_gemma;
mod record;
mod rooms;
mod session;
mod steer;
mod text;
mod training;
mod weights;
mod written;
