//! Numbers that are not finite, on every path that reads them.

use super::*;

/// Whole blocks of every kind, of which each is finite unless a d or m is not.
#[test]
fn numbers_that_are_not_finite_are_found_in_every_format() {
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let halves = bad.map(|bad| half::f16::from_f32(bad).to_le_bytes().to_vec());
    /// A kind, where in a block such a number may stand, and how each is written.
    type Case = (Kind, &'static [usize], Vec<Vec<u8>>);
    let kinds: [Case; 15] = [
        (
            Kind::F32,
            &[0],
            bad.map(|x| x.to_le_bytes().to_vec()).into(),
        ),
        (Kind::F16, &[0], halves.clone().into()),
        (
            Kind::BF16,
            &[0],
            bad.map(|x| half::bf16::from_f32(x).to_le_bytes().to_vec())
                .into(),
        ),
        (
            Kind::F64,
            &[0],
            [f64::NAN, f64::INFINITY, -1e39]
                .map(|x| x.to_le_bytes().to_vec())
                .into(),
        ),
        (Kind::Q4_0, &[0], halves.clone().into()),
        (Kind::Q4_1, &[0, 2], halves.clone().into()),
        (Kind::Q5_0, &[0], halves.clone().into()),
        (Kind::Q5_1, &[0, 2], halves.clone().into()),
        (Kind::Q8_0, &[0], halves.clone().into()),
        (Kind::Q2_K, &[80, 82], halves.clone().into()),
        (Kind::Q3_K, &[108], halves.clone().into()),
        (Kind::Q4_K, &[0, 2], halves.clone().into()),
        (Kind::Q5_K, &[0, 2], halves.clone().into()),
        (Kind::Q6_K, &[208], halves.clone().into()),
        (Kind::IQ4_NL, &[0], halves.into()),
    ];
    for (kind, places, bad) in kinds {
        let name = kind.name();
        // All bits set but those of the numbers that are floats.
        let mut block = vec![0xff; kind.block_bytes()];
        for &at in places {
            block[at..at + bad[0].len()].fill(0x3c);
        }
        let count = 1000;
        let good = block.repeat(count);
        assert_eq!(quant::not_finite(kind, &good), None, "{name}");
        for bad in &bad {
            for &at in places {
                let mut bytes = good.clone();
                let block = count - 7;
                bytes[block * kind.block_bytes() + at..][..bad.len()].copy_from_slice(bad);
                let (element, _) = quant::not_finite(kind, &bytes).expect("is found");
                assert_eq!(element, block * kind.block_len(), "{name}");
                let values = quant::dequantise(kind, &bytes).expect("whole blocks");
                let bad = values.iter().position(|value| !value.is_finite());
                assert_eq!(bad, Some(element), "{name}");
            }
        }
    }
}

#[test]
fn a_model_with_a_number_that_is_not_finite_is_refused_by_tensor() {
    for weights in [Weights::Dense, Weights::Quantised] {
        for key in small_model().keys() {
            let mut model = small_model();
            if let Some(HostTensor {
                data: HostData::Float(values),
                ..
            }) = model.get_mut(key)
            {
                let last = values.len() - 1;
                values[last] = f32::NAN;
            }
            let file = folder(&small_config(), &model).expect("opens");
            let error = block_on(Session::load(&file, None, &device::cpu(), weights, |_| {}));
            let error = error
                .err()
                .unwrap_or_else(|| panic!("{key} is not refused"));
            assert_eq!(error.code(), "not-finite", "{key}: {error}");
            let said = error.to_string();
            assert!(
                said.contains(key.as_str()) && said.contains("model.safetensors"),
                "{said}"
            );
        }
    }
    // What nothing reads does not matter.
    let mut config = small_config();
    config["mlp_bias"] = false.into();
    let mut model = small_model();
    for layer in 0..LAYERS {
        let bias = format!("model.layers.{layer}.mlp.down_proj.bias");
        model.insert(bias, tensor(&[WIDTH], |_| f32::NAN));
    }
    let file = folder(&config, &model).expect("opens");
    let cpu = device::cpu();
    let loaded = Session::load(&file, None, &cpu, Weights::Dense, |_| {});
    block_on(loaded).expect("biases that the config denies are not read");
}

/// On every path that reads blocks: widened, kept for the CPU, sent to a GPU as they are.
#[test]
fn a_block_whose_scale_is_not_finite_is_refused_on_every_path() {
    let key = "blk.1.ffn_down.weight";
    for kind in [Kind::Q8_0, Kind::Q4_K, Kind::Q6_K, Kind::Q3_K] {
        let (inner, block) = (256, vec![0x11; kind.block_bytes()]);
        let blocks = WIDTH * inner / kind.block_len();
        let mut data = block.repeat(blocks);
        let at = match kind {
            Kind::Q6_K => 208,
            Kind::Q3_K => 108,
            _ => 0,
        };
        let last = data.len() - kind.block_bytes() + at;
        data[last..last + 2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
        let tensors: Vec<_> = gguf_tensors(&small_model())
            .into_iter()
            .map(|(key, tensor)| (key, with_inner(&tensor, inner)))
            .collect();
        let mut metadata = gguf_metadata();
        metadata.retain(|(name, _)| name != "llama.feed_forward_length");
        metadata.push(("llama.feed_forward_length".into(), Value::U32(inner as u32)));
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.clone()))
            .collect();
        let mut file = RawGguf::new(&pairs, tensors.len() as u64);
        let mut all: Vec<u8> = Vec::new();
        for (name, tensor) in &tensors {
            let dims: Vec<u64> = tensor.shape.iter().rev().map(|&n| n as u64).collect();
            let (kind, bytes) = if name == key {
                (kind, data.clone())
            } else {
                let bytes = floats(tensor).iter().flat_map(|x| x.to_le_bytes());
                (Kind::F32, bytes.collect())
            };
            file = file.line(name, &dims, kind.ggml(), all.len() as u64);
            all.extend(bytes);
            all.resize(all.len().next_multiple_of(32), 0);
        }
        let model = open_model(file.build(&all)).expect("opens");
        let name = "model.layers.1.mlp.down_proj.weight";
        let shape = [WIDTH, inner];
        let errors = [
            block_on(model.tensor(name, &shape)).err(),
            block_on(model.packed(name, shape)).err(),
            block_on(model.matrix(name, shape, |_, _| {})).err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{} is not refused", kind.name()));
            let said = error.to_string();
            assert!(error.code() == "not-finite" && said.contains(key), "{said}");
            let element = (blocks - 1) * kind.block_len();
            assert!(
                said.contains(&format!("inf as the scale of a block at element {element}")),
                "{said}"
            );
        }
    }
}

/// A tensor of the small model for an MLP of another width.
fn with_inner(like: &HostTensor, inner: usize) -> HostTensor {
    let shape: Vec<_> = like
        .shape
        .iter()
        .map(|&extent| if extent == INNER { inner } else { extent })
        .collect();
    tensor(&shape, |_| 1.0)
}
