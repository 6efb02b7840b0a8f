//! Whether a model has room on the GPU: its needs and the GPU's limits in, a place and its reason in
//! words out. No JS types, so that every branch is tested natively.
//!
//! WebGPU tells nobody how much memory a GPU has. It tells how large one buffer may be and how much of
//! it one kernel may see; browsers set both by the memory that there is. Weights that become f32 get a
//! third of them: of `maxStorageBufferBindingSize` the most that has to be one binding, and of
//! `maxBufferSize` all of them together. The rest is for the copy on the way there, caches of two or
//! three texts, and adapters. Weights that stay quantised are what the file says, and are held to the
//! limits themselves.

use std::collections::BTreeMap;

use super::choice::Wish;
use crate::error::{Error, Result, megabytes};
use crate::model::GpuRoom;

/// Of the limits, what weights in f32 may take.
const SHARE: u64 = 3;

/// Where a model's weights go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// To the GPU; and what is to be said of it, if it was insisted on.
    Gpu {
        /// With both numbers.
        warning: Option<String>,
    },
    /// To the CPU, for this reason.
    Cpu {
        /// For people, with both numbers.
        why: String,
    },
}

/// Where a model goes that needs `room`, if a GPU with these `limits` is there.
///
/// # Errors
/// [`Error::DeviceUnavailable`] when WebGPU was insisted on and a matrix cannot be there at all.
pub fn place(room: &GpuRoom, limits: &BTreeMap<String, f64>, wish: Wish) -> Result<Place> {
    let limit = |name: &str| {
        let found = limits.get(name).copied().unwrap_or(f64::MAX);
        // Limits are whole numbers; what is too large for one is no limit.
        found.max(0.0) as u64
    };
    let [binding, buffer] =
        ["maxStorageBufferBindingSize", "maxBufferSize"].map(|name| (name, limit(name)));
    let least = if binding.1 < buffer.1 {
        binding
    } else {
        buffer
    };
    if room.largest_bytes > least.1 {
        let why = format!(
            "the model's `{}` would be {} on the GPU, whose `{}` is {}",
            room.largest,
            megabytes(room.largest_bytes),
            least.0,
            megabytes(least.1)
        );
        return match wish {
            Wish::WebGpu => Err(Error::DeviceUnavailable {
                asked: "webgpu".into(),
                why,
            }),
            Wish::Auto | Wish::Cpu => Ok(Place::Cpu { why }),
        };
    }
    let beyond = [
        (
            room.largest_f32_bytes,
            binding,
            "the model's largest matrix",
        ),
        (room.f32_bytes, buffer, "the model's weights"),
    ]
    .into_iter()
    .find(|(bytes, (_, limit), _)| *bytes > limit / SHARE);
    let Some((bytes, (name, limit), what)) = beyond else {
        return Ok(Place::Gpu { warning: None });
    };
    let why = format!(
        "{what}, {} in the file, would be {} in f32 on the GPU, more than a third of the GPU's `{name}` \
         ({})",
        room.f32_formats.join(", "),
        megabytes(bytes),
        megabytes(limit)
    );
    Ok(match wish {
        Wish::WebGpu => Place::Gpu { warning: Some(why) },
        Wish::Auto | Wish::Cpu => Place::Cpu { why },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn limits(binding_mb: u64, buffer_mb: u64) -> BTreeMap<String, f64> {
        let limit = |name: &str, mb: u64| (name.to_owned(), (mb * MB) as f64);
        BTreeMap::from([
            limit("maxStorageBufferBindingSize", binding_mb),
            limit("maxBufferSize", buffer_mb),
        ])
    }

    /// All in f32: a model whose table is of so many megabytes.
    fn widened(table_mb: u64, total_mb: u64) -> GpuRoom {
        GpuRoom {
            total_bytes: total_mb * MB,
            f32_bytes: total_mb * MB,
            f32_formats: vec!["BF16"],
            largest_bytes: table_mb * MB,
            largest: "model.embed_tokens.weight".into(),
            largest_f32_bytes: table_mb * MB,
        }
    }

    fn quantised(table_mb: u64, total_mb: u64) -> GpuRoom {
        GpuRoom {
            f32_bytes: 0,
            f32_formats: vec![],
            largest_f32_bytes: 0,
            ..widened(table_mb, total_mb)
        }
    }

    fn words(room: &GpuRoom, limits: &BTreeMap<String, f64>) -> String {
        match place(room, limits, Wish::Auto).unwrap() {
            Place::Cpu { why } => why,
            Place::Gpu { warning } => panic!("on the GPU: {warning:?}"),
        }
    }

    #[test]
    fn up_to_a_third_of_each_limit_it_goes_to_the_gpu() {
        for wish in [Wish::Auto, Wish::WebGpu] {
            let found = place(&widened(100, 700), &limits(300, 2100), wish).unwrap();
            assert_eq!(found, Place::Gpu { warning: None });
        }
    }

    #[test]
    fn beyond_a_third_the_cpu_is_chosen_with_the_numbers() {
        let why = words(&widened(101, 700), &limits(300, 2100));
        assert!(
            why.starts_with("the model's largest matrix, BF16 in the file, would be 101 MB"),
            "{why}"
        );
        assert!(
            why.ends_with("`maxStorageBufferBindingSize` (300 MB)"),
            "{why}"
        );
        let why = words(&widened(100, 701), &limits(300, 2100));
        assert!(
            why.starts_with("the model's weights, BF16 in the file, would be 701 MB"),
            "{why}"
        );
        assert!(why.ends_with("`maxBufferSize` (2100 MB)"), "{why}");
    }

    #[test]
    fn who_insists_is_told_with_the_numbers() {
        let found = place(&widened(101, 700), &limits(300, 2100), Wish::WebGpu).unwrap();
        let Place::Gpu {
            warning: Some(warning),
        } = found
        else {
            panic!("{found:?}")
        };
        assert!(
            warning.contains("101 MB") && warning.contains("300 MB"),
            "{warning}"
        );
    }

    #[test]
    fn what_stays_quantised_may_fill_the_limits() {
        for wish in [Wish::Auto, Wish::WebGpu] {
            let found = place(&quantised(300, 2100), &limits(300, 1000), wish).unwrap();
            assert_eq!(found, Place::Gpu { warning: None });
        }
    }

    #[test]
    fn a_matrix_that_no_buffer_holds_goes_to_the_cpu_or_is_refused() {
        for (room, limits, name) in [
            (
                quantised(301, 400),
                limits(300, 1000),
                "maxStorageBufferBindingSize",
            ),
            (
                widened(301, 400),
                limits(300, 1000),
                "maxStorageBufferBindingSize",
            ),
            (quantised(301, 400), limits(1000, 300), "maxBufferSize"),
        ] {
            let why = words(&room, &limits);
            assert!(
                why.contains("`model.embed_tokens.weight` would be 301 MB"),
                "{why}"
            );
            assert!(why.contains(name) && why.contains("300 MB"), "{why}");
            let error = place(&room, &limits, Wish::WebGpu).unwrap_err();
            assert_eq!(error.code(), "device-unavailable");
            assert!(error.to_string().contains("301 MB"), "{error}");
        }
    }

    #[test]
    fn a_part_in_f32_is_measured_alone() {
        let mixed = GpuRoom {
            f32_bytes: 50 * MB,
            largest_f32_bytes: 50 * MB,
            ..widened(280, 2000)
        };
        let found = place(&mixed, &limits(300, 1000), Wish::Auto).unwrap();
        assert_eq!(found, Place::Gpu { warning: None });
    }
}
