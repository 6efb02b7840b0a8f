//! What a family calls the parts of a decoder: in Hugging Face's files, which PEFT follows, and in
//! llama.cpp's. Pure data: everything that asks for a name asks this table.
//!
//! A bare name is Hugging Face's without its first `model.`, which checkpoints of the base model
//! alone leave out: `layers.0.self_attn.q_proj.weight`.

use super::places::{Norm, Projection};

/// Outside the blocks, alike in all families: Hugging Face's bare module, llama.cpp's.
const AROUND: [(&str, &str); 3] = [
    ("embed_tokens", "token_embd"),
    ("norm", "output_norm"),
    ("lm_head", "output"),
];

/// The names of one family.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// The family's own name, for messages.
    pub family: &'static str,
    /// llama.cpp's name of it: `general.architecture`, and what its metadata begin with.
    pub gguf: &'static str,
    /// The linear layers of a block: which, path inside the block, llama.cpp's name.
    pub linears: &'static [(Projection, &'static str, &'static str)],
    /// The norms of a block, likewise.
    pub norms: &'static [(Norm, &'static str, &'static str)],
    /// Tensors of a file that hold several of the linear layers.
    pub stacks: &'static [Stack],
    /// Whether llama.cpp's converter moves the rows of queries and keys: see `rows.rs`.
    pub permuted: bool,
}

/// A tensor whose rows are those of several linear layers, one on top of the other.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    /// Path inside the block.
    pub path: &'static str,
    /// llama.cpp's name.
    pub gguf: &'static str,
    /// The layers, from the first row on.
    pub parts: &'static [Projection],
}

impl Names {
    /// The path of a linear layer inside its block, as Hugging Face and PEFT write it.
    #[must_use]
    pub fn linear(&self, projection: Projection) -> &'static str {
        let found = self.linears.iter().find(|(known, ..)| *known == projection);
        found.map_or(projection.path(), |(_, path, _)| path)
    }

    /// The path of a norm inside its block; `None` where blocks have no such norm.
    #[must_use]
    pub fn norm(&self, norm: Norm) -> Option<&'static str> {
        let found = self.norms.iter().find(|(known, ..)| *known == norm);
        found.map(|(_, path, _)| *path)
    }

    /// The linear layer of this path inside a block.
    #[must_use]
    pub fn projection_at(&self, path: &str) -> Option<Projection> {
        let found = self.linears.iter().find(|(_, known, _)| *known == path);
        let alone = || match self.stack_at(path)?.parts {
            [one] => Some(*one),
            _ => None,
        };
        found.map(|(projection, ..)| *projection).or_else(alone)
    }

    /// The stack of this path inside a block.
    #[must_use]
    pub fn stack_at(&self, path: &str) -> Option<&'static Stack> {
        self.stacks.iter().find(|stack| stack.path == path)
    }

    /// The paths under which PEFT may know a linear layer: its own, and those of stacks that hold it.
    pub fn paths_of(&self, projection: Projection) -> impl Iterator<Item = &'static str> + use<> {
        let holds = move |stack: &&Stack| stack.parts.contains(&projection);
        let stacks = self.stacks.iter().filter(holds).map(|stack| stack.path);
        std::iter::once(self.linear(projection)).chain(stacks)
    }

    /// The norm of this path inside a block.
    #[must_use]
    pub fn norm_at(&self, path: &str) -> Option<Norm> {
        let found = self.norms.iter().find(|(_, known, _)| *known == path);
        found.map(|(norm, ..)| *norm)
    }

    /// The paths of all linear layers, stacks and norms of a block.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        let linears = self.linears.iter().map(|(_, path, _)| *path);
        let stacks = self.stacks.iter().map(|stack| stack.path);
        let norms = self.norms.iter().map(|(_, path, _)| *path);
        linears.chain(stacks).chain(norms)
    }

    /// llama.cpp's name of the tensor of this bare name; `None` where the family has none such.
    #[must_use]
    pub fn gguf_name(&self, bare: &str) -> Option<String> {
        self.translated(bare, |(hf, gguf)| (hf, gguf))
    }

    /// The inverse of [`Self::gguf_name`].
    #[must_use]
    pub fn bare_name(&self, gguf: &str) -> Option<String> {
        self.translated(gguf, |(hf, gguf)| (gguf, hf))
    }

    /// The name of a tensor in the other format, where `turn` puts the format that it is in first.
    fn translated<'a>(&self, name: &str, turn: fn(Pair<'a>) -> Pair<'a>) -> Option<String> {
        let (path, parameter) = name.rsplit_once('.')?;
        let mut around = AROUND.into_iter().map(turn);
        if let Some((_, other)) = around.find(|(own, _)| *own == path) {
            return (parameter == "weight").then(|| format!("{other}.weight"));
        }
        let (blocks, other_blocks) = turn(("layers", "blk"));
        let inside = path.strip_prefix(blocks)?.strip_prefix('.')?;
        let (layer, path) = inside.split_once('.')?;
        let linears = self.linears.iter().map(|(_, hf, gguf)| (*hf, *gguf));
        let norms = self.norms.iter().map(|(_, hf, gguf)| (*hf, *gguf));
        let stacks = self.stacks.iter().map(|stack| (stack.path, stack.gguf));
        let mut modules = linears.chain(norms).chain(stacks).map(turn);
        let (_, other) = modules.find(|(own, _)| *own == path)?;
        Some(format!("{other_blocks}.{layer}.{other}.{parameter}"))
    }

    /// The layers whose rows the tensor of this bare name holds, each with the bare name that its
    /// own tensor would have; `None` for a tensor that is no stack.
    pub(super) fn stacked(&self, bare: &str) -> Option<Vec<(Projection, String)>> {
        let (path, parameter) = bare.rsplit_once('.')?;
        let (layer, path) = path.strip_prefix("layers.")?.split_once('.')?;
        let stack = self.stacks.iter().find(|stack| stack.path == path)?;
        let own = |&part| {
            let path = self.linear(part);
            (part, format!("layers.{layer}.{path}.{parameter}"))
        };
        Some(stack.parts.iter().map(own).collect())
    }

    /// Whether llama.cpp reorders the rows of the tensor of this name: see `rows.rs`.
    #[must_use]
    pub fn is_permuted(&self, name: &str) -> bool {
        let is = |projection| name.contains(&format!(".{}.", self.linear(projection)));
        self.permuted && (is(Projection::Q) || is(Projection::K))
    }
}

/// A name in the two formats.
type Pair<'a> = (&'a str, &'a str);

/// Hugging Face's name without its first `model.`.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix("model.").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use crate::arch::all_names;

    #[test]
    fn names_go_to_llama_cpp_and_back() {
        for names in all_names() {
            let modules = names.paths().map(|path| format!("layers.3.{path}"));
            let around = ["embed_tokens", "norm", "lm_head"].map(str::to_owned);
            for bare in modules.chain(around) {
                let bare = format!("{bare}.weight");
                let gguf = names.gguf_name(&bare).expect("a name");
                assert_eq!(names.bare_name(&gguf), Some(bare), "{gguf}");
            }
            for other in [
                "layers.0.weight",
                "norm.bias",
                "layers.norm.weight",
                "norm",
                "blk",
            ] {
                assert_eq!(
                    (names.gguf_name(other), names.bare_name(other)),
                    (None, None)
                );
            }
        }
    }
}
