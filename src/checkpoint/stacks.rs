//! Modules that hold several linear layers on top of each other, as `shared_mlp.input_linear` of a
//! Granite 4 holds gate and up. A method for which it is exact gets them as the layers they are.

use super::files::PREFIX;
use super::loader::Loader;
use crate::arch::Stack;
use crate::error::{Error, Result};

/// Parameters of modules trained whole.
const WHOLE: [&str; 2] = ["weight", "bias"];

/// The module and the parameter of a key, if the module is this stack in some block.
fn stacked<'k>(key: &'k str, stack: &Stack) -> Option<(&'k str, &'k str)> {
    let inside = key.strip_prefix(PREFIX)?.strip_prefix("model.layers.")?;
    let (_, inside) = inside.split_once('.')?;
    let parameter = inside.strip_prefix(stack.path)?.strip_prefix('.')?;
    Some((&key[..key.len() - parameter.len() - 1], parameter))
}

impl Loader<'_> {
    /// Takes modules apart that hold several linear layers on top of each other, for a method of
    /// which each layer's part is known: `rows` are the parameters with a row for each output. All
    /// others act on the input, which the layers share.
    ///
    /// # Errors
    /// [`Error::WrongShape`] for another number of rows, [`Error::UnexpectedKeys`] for a layer that
    /// is there on its own too.
    pub fn take_apart(&self, rows: &[&str]) -> Result<()> {
        let family = self.model.config().family;
        for key in self.keys() {
            let found = family.stacks.iter().find_map(|stack| {
                let (module, parameter) = stacked(&key, stack)?;
                (stack.parts.len() > 1).then_some((stack, module, parameter))
            });
            let Some((stack, module, parameter)) = found else {
                continue;
            };
            let heights = stack
                .parts
                .iter()
                .map(|part| part.widths(self.model.config()).1);
            let heights: Vec<usize> = heights.collect();
            let shape = self.shape(&key).unwrap_or_default();
            let all = heights.iter().sum::<usize>();
            // A single row is a gain on the input.
            let divided = WHOLE.contains(&parameter)
                || (rows.contains(&parameter) && shape.first() != Some(&1));
            if divided && shape.first() != Some(&all) {
                return Err(self.wrong_shape(&key, format!("{all} rows")));
            }
            let Some(tensor) = self.tensors.borrow_mut().remove(&key) else {
                continue;
            };
            let outside = module.strip_suffix(stack.path).unwrap_or(module);
            let mut first = 0;
            for (part, height) in stack.parts.iter().zip(heights) {
                let part_module = format!("{outside}{}", family.linear(*part));
                let part_key = format!("{part_module}.{parameter}");
                let part = if divided {
                    tensor.rows(first..first + height)
                } else {
                    tensor.clone()
                };
                first += height;
                if self
                    .tensors
                    .borrow_mut()
                    .insert(part_key.clone(), part)
                    .is_some()
                {
                    return Err(Error::UnexpectedKeys {
                        file: self.file.clone(),
                        keys: vec![self.config.own_key(&key), self.config.own_key(&part_key)],
                    });
                }
                self.stacks.borrow_mut().insert(part_module, module.into());
            }
        }
        Ok(())
    }

    /// The key of the file that a part of a stack's tensor came from; any other as it is.
    pub(super) fn whole(&self, key: &str) -> String {
        let stacks = self.stacks.borrow();
        let whole = stacks.iter().find_map(|(part, whole)| {
            let parameter = key.strip_prefix(part)?;
            (parameter.starts_with('.') || parameter.is_empty())
                .then(|| format!("{whole}{parameter}"))
        });
        whole.unwrap_or_else(|| key.into())
    }

    /// The refusal of a module of several layers by a method that did not take it apart.
    pub(super) fn undivided(&self, stack: &Stack) -> Error {
        Error::UnsupportedOption {
            file: self.file.clone(),
            method: self.config.text("peft_type").unwrap_or_default(),
            field: "target_modules".into(),
            found: stack.path.into(),
            why: "it holds several linear layers on top of each other, and what this method learned of \
                  them together cannot be divided between them exactly",
        }
    }
}
