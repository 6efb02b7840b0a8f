//! How c becomes part of a checkpoint's numbers, so that they do at 1 what they did at c.

use super::config::Config;
use super::loader::Loader;

/// What a method's numbers become under its own law.
#[derive(Debug, Clone, Copy)]
pub enum Folds {
    /// These parameters change, each for itself, and all others stay. A name with a dot at its end stands
    /// for all that begin so; one that no tensor has, for a field of the config, which c multiplies.
    Into(&'static [(&'static str, Fold)]),
    /// It depends on the checkpoint and on c.
    By(fn(&Loader<'_>, f32) -> Self),
    /// No other numbers do at 1 what these do at c, or none that follow from these alone.
    Not(&'static str),
}

/// What one parameter p becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// `c·p`
    Times,
    /// `1 + c·(p − 1)`
    FromOne,
    /// `p^c`, p above 0
    Power,
    /// `w + c·(p − w)`, where w stands in its place in the base
    FromBase,
}

impl Folds {
    /// The parameters that change.
    ///
    /// # Errors
    /// The reason why no other numbers will do.
    pub(crate) fn at(
        self,
        loader: &Loader<'_>,
        c: f32,
    ) -> Result<&'static [(&'static str, Fold)], &'static str> {
        match self {
            Self::Into(parameters) => Ok(parameters),
            Self::By(fold) => fold(loader, c).at(loader, c),
            Self::Not(why) => Err(why),
        }
    }
}

impl Fold {
    /// The new numbers; `base` are those of the base, for [`Fold::FromBase`].
    pub(crate) fn apply(self, values: &mut [f32], base: &[f32], c: f32) {
        match self {
            Self::Times => values.iter_mut().for_each(|p| *p *= c),
            Self::FromOne => values.iter_mut().for_each(|p| *p = 1.0 + c * (*p - 1.0)),
            Self::Power => values.iter_mut().for_each(|p| *p = p.powf(c)),
            Self::FromBase => {
                for (p, w) in values.iter_mut().zip(base) {
                    *p = w + c * (*p - w);
                }
            }
        }
    }
}

/// Whether a tensor is the parameter of this name.
pub(crate) fn is_parameter(key: &str, name: &str) -> bool {
    let before = key.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        || (name.ends_with('.') && key.starts_with(name))
}

impl Config {
    /// Multiplies a field by c, if it is a number.
    pub(crate) fn multiply(&mut self, field: &str, c: f32) {
        if let Ok(number) = self.number(field) {
            self.fields.insert(field.into(), (c * number).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_0_nothing_is_left_and_at_1_all() {
        let at = |fold: Fold, c| {
            let mut values = [4.0];
            fold.apply(&mut values, &[6.0], c);
            values[0]
        };
        for (fold, none, half) in [
            (Fold::Times, 0.0, 2.0),
            (Fold::FromOne, 1.0, 2.5),
            (Fold::Power, 1.0, 2.0),
            (Fold::FromBase, 6.0, 5.0),
        ] {
            let found = [0.0, 0.5, 1.0].map(|c| at(fold, c));
            assert_eq!(found, [none, half, 4.0], "{fold:?}");
        }
    }

    #[test]
    fn a_parameter_is_known_by_its_whole_name() {
        for (key, name, expected) in [
            ("a.q_proj.lora_B.weight", "lora_B.weight", true),
            ("a.q_proj.xlora_B.weight", "lora_B.weight", false),
            ("lora_B.weight", "lora_B.weight", true),
            ("a.q_proj.lokr_w1_a", "lokr_w1", false),
            ("direction.12", "direction.", true),
        ] {
            assert_eq!(is_parameter(key, name), expected, "{key} {name}");
        }
    }
}
