//! Every GPU kernel against arithmetic on the host, on shapes that fill no tile. Runs on whatever
//! native adapter there is; a software one will do.

#[path = "../checks/kernels.rs"]
mod checks;

use burn::tensor::Device;
use pollster::block_on;
use steering_playground::arch::QkNorm;
use steering_playground::device;
use steering_playground::kernels::Cut;
use steering_playground::weights::quant::Kind;

use crate::common::lacks_gpu;
use checks::Attention;

fn gpu() -> Device {
    block_on(device::gpu()).expect("a GPU")
}

#[test]
fn whoever_asks_while_the_gpu_is_opening_gets_the_same_one() {
    if lacks_gpu() {
        return;
    }
    let asked = std::array::from_fn::<_, 4, _>(|_| std::thread::spawn(gpu));
    let opened = asked.map(|thread| thread.join().expect("no GPU"));
    assert!(opened.iter().all(|device| *device == opened[0]));
}

#[test]
fn linear_layers_equal_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for kind in [Kind::Q4_0, Kind::Q4_1, Kind::Q8_0, Kind::F16, Kind::F32] {
        for shape in [
            (72, 96, 1, 0..72),
            (200, 576, 17, 64..150),
            (200, 576, 23, 64..192),
            (64, 288, 8, 0..64),
            (128, 64, 7, 0..128),
            (50, 32, 5, 0..50),
            (8, 32, 2, 0..8),
        ] {
            let mut cuts = checks::software_cuts();
            // A software GPU takes seconds for each pipeline with a barrier.
            if shape.2 == 17 {
                cuts.push(Cut::HARDWARE);
            }
            block_on(checks::linear(&device, kind, shape, &cuts));
        }
    }
}

/// Biases, scaled residual streams and gates, for few and many tokens, with a low-rank change.
#[test]
fn what_follows_a_product_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for kind in [Kind::Q4_1, Kind::Q8_0, Kind::F32] {
        let mut cuts = checks::software_cuts();
        if kind != Kind::Q8_0 {
            cuts.push(Cut::HARDWARE);
        }
        for cut in cuts {
            for t in [1, 3, 17] {
                block_on(checks::biases(&device, kind, t, cut));
            }
        }
    }
}

#[test]
fn what_rides_along_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    let mut cuts = checks::software_cuts();
    cuts.push(Cut::HARDWARE);
    for cut in cuts {
        for (t, ranks, row) in [
            (1, [8, 4], None),
            (2, [8, 4], Some(1)),
            (3, [3, 8], None),
            (20, [8, 5], None),
        ] {
            block_on(checks::riders(&device, t, ranks, row, cut));
        }
    }
}

#[test]
fn the_norm_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for (t, d) in [(1, 576), (2, 40), (17, 97)] {
        block_on(checks::norm(&device, t, d));
    }
    block_on(checks::norm_overflows(&device));
}

#[test]
fn the_choice_of_tokens_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for vocab in [17, 1000, 49_152] {
        block_on(checks::choose(&device, vocab));
    }
    block_on(checks::choose_diverges(&device, 1000));
}

/// Contexts of 1, 17, 257 and 2048 keys, by one, two and more queries than fill a tile; heads that
/// share keys by threes, by fives and not at all, and that fill no row of threads.
#[test]
fn attention_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for heads in [[9, 3, 64], [6, 2, 8], [4, 4, 128], [5, 1, 40], [2, 1, 12]] {
        for place in [
            (0, 1),
            (16, 1),
            (0, 17),
            (255, 2),
            (2047, 1),
            (2046, 2),
            (2031, 17),
        ] {
            let mut cuts = checks::software_cuts();
            cuts.push(Cut::HARDWARE);
            block_on(checks::attention(
                &device,
                heads,
                place,
                checks::PLAIN,
                &cuts,
            ));
        }
    }
}

/// Norms of queries and keys, layers without rotation, windows that end inside and between parts, capped
/// scores, and all of it together.
#[test]
fn attention_of_every_family_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    let mut cuts = checks::software_cuts();
    cuts.push(Cut::HARDWARE);
    let plain = checks::PLAIN;
    let with = |norm| Attention { norm, ..plain };
    let seen = |window| Attention {
        window: Some(window),
        ..plain
    };
    let unrotated = Attention {
        rotates: false,
        ..plain
    };
    let all = |norm, window| Attention {
        norm: Some(norm),
        rotates: false,
        window: Some(window),
        cap: Some(0.5),
    };
    let capped = Attention {
        cap: Some(0.5),
        ..plain
    };
    for (heads, place, how) in [
        ([6, 2, 8], (16, 3), with(Some(QkNorm::Head))),
        ([4, 1, 256], (3, 2), with(Some(QkNorm::Head))),
        ([5, 1, 40], (0, 17), with(Some(QkNorm::Whole))),
        ([6, 2, 8], (16, 1), with(Some(QkNorm::Whole))),
        ([6, 2, 8], (16, 3), unrotated),
        ([9, 3, 64], (0, 17), seen(5)),
        ([6, 2, 8], (20, 1), seen(1)),
        ([6, 2, 8], (20, 2), seen(4096)),
        ([9, 3, 64], (255, 2), seen(2)),
        ([6, 2, 8], (2046, 2), seen(300)),
        ([6, 2, 8], (2047, 1), seen(256)),
        ([6, 2, 8], (2031, 17), seen(300)),
        ([5, 1, 40], (255, 9), seen(255)),
        ([9, 3, 64], (16, 3), capped),
        ([6, 2, 8], (0, 17), capped),
        ([6, 2, 8], (600, 2), all(QkNorm::Head, 70)),
        ([2, 1, 12], (600, 5), all(QkNorm::Whole, 70)),
    ] {
        block_on(checks::attention(&device, heads, place, how, &cuts));
    }
    for cut in cuts {
        block_on(checks::head_norm_overflows(&device, cut));
    }
}
