//! Every GPU kernel against arithmetic on the host, on shapes that fill no tile. Runs on whatever
//! native adapter there is; a software one will do.

#[path = "../checks/kernels.rs"]
pub mod checks;

use burn::tensor::{Device, Tensor};
use pollster::block_on;
use steering_playground::arch::QkNorm;
use steering_playground::device;
use steering_playground::kernels::{self, Asked, Cut, Packed};
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

/// Kinds whose rows may have any number of blocks of 32.
const SHORT: [Kind; 9] = [
    Kind::Q4_0,
    Kind::Q4_1,
    Kind::Q5_0,
    Kind::Q5_1,
    Kind::Q8_0,
    Kind::IQ4_NL,
    Kind::F16,
    Kind::BF16,
    Kind::F32,
];

/// Kinds with blocks of 256 numbers.
const LONG: [Kind; 5] = [Kind::Q2_K, Kind::Q3_K, Kind::Q4_K, Kind::Q5_K, Kind::Q6_K];

/// Kinds on top of each other, and whether all have blocks of 32: codes of one width, of two, with factors of
/// different kinds, floats, and both.
const MIXED: [(&[Kind], bool); 9] = [
    (&[Kind::Q4_0, Kind::Q4_1], true),
    (&[Kind::Q4_0, Kind::Q5_1], true),
    (&[Kind::Q5_0, Kind::Q8_0, Kind::IQ4_NL], true),
    (&[Kind::F16, Kind::BF16], true),
    (&[Kind::Q4_K, Kind::Q4_K, Kind::Q6_K], false),
    (&[Kind::Q5_K, Kind::Q3_K], false),
    (&[Kind::Q4_K, Kind::Q8_0], false),
    (&[Kind::Q2_K, Kind::Q5_0, Kind::Q6_K], false),
    (&[Kind::Q4_K, Kind::F64], false),
];

#[test]
fn linear_layers_equal_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    let check = |kinds: &[Kind], shape: (usize, usize, usize, std::ops::Range<usize>)| {
        let mut cuts = checks::software_cuts();
        // A software GPU takes seconds for each pipeline with a barrier.
        if shape.2 == 17 || (shape.1, shape.2) == (96, 1) {
            cuts.push(Cut::HARDWARE);
        }
        block_on(checks::linear(&device, kinds, shape, &cuts));
    };
    for kind in [Kind::Q4_1, Kind::Q8_0, Kind::F32] {
        for shape in [
            (72, 96, 1, 0..72),
            (200, 576, 17, 64..150),
            (200, 576, 23, 64..192),
            (64, 288, 8, 0..64),
            (128, 64, 7, 0..128),
            (50, 32, 5, 0..50),
            (8, 32, 2, 0..8),
        ] {
            check(&[kind], shape);
        }
    }
    for kind in SHORT {
        check(&[kind], (37, 96, 2, 3..37));
    }
    for kind in LONG {
        check(&[kind], (37, 256, 1, 3..37));
    }
    for kind in [Kind::Q5_1, Kind::Q6_K, Kind::BF16] {
        check(&[kind], (50, 256, 17, 0..50));
    }
    for (kinds, short) in MIXED {
        check(kinds, (21, if short { 96 } else { 512 }, 3, 5..41));
    }
}

/// Rows that fill no tile and no piece, one and several blocks, kinds that lie on top of each other, and as
/// many rows as a head has.
#[test]
fn what_products_give_back_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    let cuts = [Cut::SOFTWARE, Cut::HARDWARE];
    let check = |kinds: &[Kind], rows, tokens: &[usize]| {
        block_on(checks::pulled_back(&device, kinds, rows, tokens, &cuts));
    };
    for kind in [Kind::Q4_1, Kind::Q8_0, Kind::F32] {
        check(&[kind], ([200, 576], 64..151), &[1, 3, 37, 128]);
    }
    for kind in SHORT {
        check(&[kind], ([37, 32], 0..37), &[3, 37]);
    }
    for kind in LONG {
        check(&[kind], ([37, 256], 3..36), &[3]);
    }
    for (kinds, short) in MIXED {
        check(kinds, ([20, if short { 96 } else { 256 }], 3..39), &[3]);
    }
    check(&[Kind::Q4_1], ([9001, 96], 0..9001), &[3, 37]);
    for kind in [Kind::Q4_1, Kind::Q8_0] {
        check(&[kind], ([49_152, 64], 0..49_152), &[3, 37]);
    }
}

/// Nothing is widened on its way to a GPU, whatever lies together: of 256 numbers, the bytes there and in the
/// file.
#[test]
fn what_kinds_take_on_a_gpu() {
    let bytes = |kinds: &[Kind]| {
        let found = Packed::foresee(kinds, [kinds.len(), 256]);
        let file = kinds
            .iter()
            .map(|kind| 256 / kind.block_len() * kind.block_bytes());
        (found.bytes as usize, file.sum::<usize>())
    };
    for (kind, expected) in [
        (Kind::Q4_0, (160, 144)),
        (Kind::Q4_1, (160, 160)),
        (Kind::Q5_0, (192, 176)),
        (Kind::Q5_1, (192, 192)),
        (Kind::Q8_0, (288, 272)),
        (Kind::IQ4_NL, (288, 144)),
        (Kind::Q2_K, (164, 84)),
        (Kind::Q3_K, (164, 110)),
        (Kind::Q4_K, (164, 144)),
        (Kind::Q5_K, (196, 176)),
        (Kind::Q6_K, (228, 210)),
        (Kind::F16, (516, 512)),
        (Kind::BF16, (516, 512)),
        (Kind::F32, (1028, 1024)),
    ] {
        assert_eq!(bytes(&[kind]), expected, "{kind:?}");
    }
    for (kinds, _) in MIXED {
        let (found, file) = bytes(kinds);
        let floats = kinds.iter().any(|kind| kind.bits().is_none());
        assert_eq!(
            Packed::foresee(kinds, [kinds.len(), 256]).in_f32,
            floats,
            "{kinds:?}"
        );
        assert!(
            floats || found * 10 < file * 25,
            "{kinds:?}: {found} of {file}"
        );
    }
}

/// Biases, scaled residual streams and gates, for few and many tokens, with a low-rank change.
#[test]
fn what_follows_a_product_equals_the_host() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    for kind in [Kind::Q4_1, Kind::Q8_0, Kind::F32, Kind::Q6_K] {
        for t in [1, 3, 17] {
            if kind == Kind::Q6_K && t != 3 {
                continue;
            }
            let mut cuts = checks::software_cuts();
            // A software GPU takes seconds for each pipeline with a barrier.
            if [(Kind::Q4_1, 3), (Kind::Q4_1, 17), (Kind::F32, 3)].contains(&(kind, t)) {
                cuts.push(Cut::HARDWARE);
            }
            for cut in cuts {
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
        block_on(checks::choose(&device, vocab, 1));
    }
    for vocab in [17, 5001] {
        block_on(checks::choose(&device, vocab, Asked::HARDWARE_AT_ONCE));
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

#[test]
fn probes_do_what_they_are_timed_for() {
    if lacks_gpu() {
        return;
    }
    block_on(checks::probes(&gpu()));
}

#[test]
fn a_gpu_with_a_clock_says_how_long_it_works() {
    if lacks_gpu() {
        return;
    }
    let device = gpu();
    let x = Tensor::<1>::zeros([4], &device);
    let work = || Ok((0..40).fold(x.clone(), |x, _| kernels::step(x)));
    let (x, time) = block_on(kernels::gpu_time(&x, work)).expect("runs");
    let x = block_on(device::read_back(x)).expect("read");
    assert_eq!(x[0], 40.0);
    let keeps_time = device::gpu_about().is_some_and(|about| about.timestamps);
    assert!(time.is_none() || keeps_time, "{time:?} without a clock");
}
