//! What a family calls the parts of a decoder: in Hugging Face's files, which PEFT follows, and in
//! llama.cpp's. Pure data: everything that asks for a name asks this table.
//!
//! A bare name is Hugging Face's without its first `model.`, which checkpoints of the base model
//! alone leave out: `layers.0.self_attn.q_proj.weight`. Families that call their body otherwise
//! ([`Body`]) are given these names as well, so that a path means the same place in all of them.

use super::places::{Norm, Projection};
use super::rows::Moved;

/// Outside the blocks, alike in all families: bare module, llama.cpp's.
const AROUND: [(&str, &str); 4] = [
    ("embed_tokens", "token_embd"),
    ("embed_positions", "position_embd"),
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
    /// What Hugging Face's files call what is around the blocks; without it as most families.
    pub body: Option<&'static Body>,
}

/// A body that is not called `model`.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The module around all but the head.
    pub name: &'static str,
    /// Its modules and the head, each with its bare name: `("h", "layers")`. A head that is called as in
    /// most families stands in no list: it says nothing of the family.
    pub modules: &'static [(&'static str, &'static str)],
    /// Whether the weights of linear layers lie the other way round, `[i, o]`.
    pub transposed: bool,
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

    /// The bare name of a tensor or module of Hugging Face's files.
    #[must_use]
    pub fn bare(&self, name: &str) -> String {
        let inner = name.strip_prefix("model.").unwrap_or(name);
        self.of_body(inner).unwrap_or_else(|| inner.into())
    }

    /// The bare name of what a body of another name calls so.
    fn of_body(&self, name: &str) -> Option<String> {
        let body = self.body?;
        let inside = name.strip_prefix(body.name);
        let inner = inside.and_then(|name| name.strip_prefix('.'));
        let inner = inner.unwrap_or(name);
        let (first, rest) = inner.split_once('.').unwrap_or((inner, ""));
        let (_, bare) = body.modules.iter().find(|(own, _)| *own == first)?;
        Some(joined(bare, rest))
    }

    /// The family's own path of what is called so in most families, `model.layers.0.mlp` or `lm_head`.
    #[must_use]
    pub fn own(&self, path: &str) -> String {
        let Some(body) = self.body else {
            return path.into();
        };
        let bare = path.strip_prefix("model.").unwrap_or(path);
        let (first, rest) = bare.split_once('.').unwrap_or((bare, ""));
        let found = body.modules.iter().find(|(_, bare)| *bare == first);
        let own = joined(found.map_or(first, |(own, _)| own), rest);
        if path == bare {
            own
        } else {
            format!("{}.{own}", body.name)
        }
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
            return ["weight", "bias"]
                .contains(&parameter)
                .then(|| format!("{other}.{parameter}"));
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

    /// How llama.cpp's converter moves the rows of the tensor of this name, if it does: see `rows.rs`.
    pub(crate) fn moved(&self, name: &str) -> Option<Moved> {
        let is = |projection| name.contains(&format!(".{}.", self.linear(projection)));
        if !self.permuted {
            None
        } else if is(Projection::Q) || is(Projection::K) {
            Some(Moved::Neighbours)
        } else {
            is(Projection::Qkv).then_some(Moved::ByPart)
        }
    }

    /// Whether Hugging Face's files hold the weight of this bare name as `[i, o]`.
    pub(super) fn is_transposed(&self, bare: &str) -> bool {
        let path = bare
            .strip_prefix("layers.")
            .and_then(|rest| rest.split_once('.'));
        let module = path.and_then(|(_, path)| path.strip_suffix(".weight"));
        let is_linear = module.is_some_and(|module| self.projection_at(module).is_some());
        is_linear && self.body.is_some_and(|body| body.transposed)
    }
}

/// A module and what is inside of it.
fn joined(module: &str, rest: &str) -> String {
    if rest.is_empty() {
        module.into()
    } else {
        format!("{module}.{rest}")
    }
}

/// A name in the two formats.
type Pair<'a> = (&'a str, &'a str);

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
                assert_eq!(names.bare_name(&gguf), Some(bare.clone()), "{gguf}");
                // The head stands beside the body.
                let body = if bare.starts_with("lm_head") {
                    ""
                } else {
                    "model."
                };
                assert_eq!(names.bare(&names.own(&format!("{body}{bare}"))), bare);
            }
            for other in [
                "layers.0.weight",
                "norm.gain",
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
