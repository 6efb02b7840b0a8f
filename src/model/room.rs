//! What a model will take on a GPU, from the table of its file: before a tensor is read or sent there.

use super::gpu::Gpu;
use super::layer::GROUPS;
use crate::arch::{DecoderConfig, ModelFile, Projection};
use crate::kernels::{BLOCK, Packed};
use crate::weights::ByteSource;
use crate::weights::quant::Kind;

/// What a model's matrices will take on a GPU. What is beside them, norms and biases, is small.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuRoom {
    /// All matrices, in bytes.
    pub total_bytes: u64,
    /// Of these the ones whose numbers are f32 there: those that are in the file, rows that are no whole
    /// blocks, and layers of one input of which some are floats and some have codes or other floats.
    pub f32_bytes: u64,
    /// The formats in the file of those that are f32 there, by the alphabet.
    pub f32_formats: Vec<&'static str>,
    /// The largest buffer, in bytes. A matrix that lies alone takes several where it is too large for one.
    pub largest_bytes: u64,
    /// A tensor in that buffer, as Hugging Face calls it.
    pub largest: String,
    /// The largest buffer of f32, in bytes.
    pub largest_f32_bytes: u64,
}

impl GpuRoom {
    /// Counts what [`super::Model::load`] would put there.
    #[must_use]
    pub fn of<S: ByteSource>(file: &ModelFile<S>) -> Self {
        let config = file.config();
        let mut room = Self::default();
        let table = [config.vocab_size, config.hidden_size];
        room.add(file, &["model.embed_tokens".into()], table);
        let widths = Projection::ALL.map(|projection| projection.widths(config).0);
        let stacked = Gpu::suits(config) && widths.iter().all(|i| i.is_multiple_of(BLOCK));
        for layer in 0..config.num_layers {
            for group in GROUPS {
                if stacked {
                    room.add_group(file, config, layer, group);
                } else {
                    for projection in group {
                        room.add_group(file, config, layer, std::slice::from_ref(projection));
                    }
                }
            }
        }
        if !config.tie_word_embeddings {
            room.add(file, &["lm_head".into()], table);
        }
        room
    }

    fn add_group<S: ByteSource>(
        &mut self,
        file: &ModelFile<S>,
        config: &DecoderConfig,
        layer: usize,
        group: &[Projection],
    ) {
        let path = |&projection: &Projection| {
            format!("model.layers.{layer}.{}", config.family.linear(projection))
        };
        let paths: Vec<String> = group.iter().map(path).collect();
        let heights = group.iter().map(|projection| projection.widths(config).1);
        self.add(file, &paths, [heights.sum(), group[0].widths(config).0]);
    }

    /// Adds matrices that lie on top of each other, `[o, i]` in all.
    fn add<S: ByteSource>(&mut self, file: &ModelFile<S>, paths: &[String], shape: [usize; 2]) {
        let name = |path: &String| format!("{path}.weight");
        let kinds: Vec<_> = paths
            .iter()
            .filter_map(|path| file.kind(&name(path)))
            .collect();
        let mut found = Packed::foresee(&kinds, shape);
        if !shape[1].is_multiple_of(BLOCK) {
            // No kernel of ours reads it: burn does, in f32.
            let bytes = 4 * (shape[0] * shape[1]) as u64;
            (found.bytes, found.buffer_bytes, found.in_f32) = (bytes, bytes, true);
        }
        self.total_bytes += found.bytes;
        if found.buffer_bytes > self.largest_bytes {
            self.largest_bytes = found.buffer_bytes;
            self.largest = paths.first().map(name).unwrap_or_default();
        }
        if found.in_f32 {
            self.f32_bytes += found.bytes;
            self.largest_f32_bytes = self.largest_f32_bytes.max(found.buffer_bytes);
            self.f32_formats.extend(kinds.into_iter().map(Kind::name));
            self.f32_formats.sort_unstable();
            self.f32_formats.dedup();
        }
    }
}
