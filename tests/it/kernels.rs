//! Every GPU kernel against arithmetic on the host, on shapes that fill no tile. Runs on whatever
//! native adapter there is; a software one will do.

#[path = "../checks/kernels.rs"]
mod checks;

use burn::tensor::Device;
use pollster::block_on;
use steering_playground::device;
use steering_playground::kernels::Cut;
use steering_playground::weights::quant::Kind;

use crate::common::lacks_gpu;

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
            block_on(checks::attention(&device, heads, place, &cuts));
        }
    }
}
