//! How a vector is made of texts.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// How states become a direction. In the files of that name is what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The mean of the pairs' differences.
    #[default]
    Mean,
    /// The direction in which the differences vary most: repeng's `pca_diff`.
    PcaDiff,
    /// The direction in which they are longest: repeng's `pca_center`.
    PcaCenter,
    /// The direction that tells the two kinds of text apart: logistic regression.
    Probe,
    /// The mean difference at a later block, pulled back through the Jacobian: natively only.
    Vjp,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Mean,
        Self::PcaDiff,
        Self::PcaCenter,
        Self::Probe,
        Self::Vjp,
    ];

    /// The name by which a user chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::PcaDiff => "pca-diff",
            Self::PcaCenter => "pca-center",
            Self::Probe => "probe",
            Self::Vjp => "vjp",
        }
    }

    /// Where it reads texts unless told otherwise.
    #[must_use]
    pub fn at(self) -> At {
        match self {
            Self::Vjp => At::Last,
            _ => At::Mean,
        }
    }
}

/// Where in a text its state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// The mean over its tokens but the first.
    #[default]
    Mean,
    /// Its last token, as repeng does.
    Last,
}

/// How long the step of each block is at c = 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// A share of the mean length of the states of its block, so that one share means the same in every
    /// block.
    Share(f32),
    /// What the method gives: the mean difference as long as it is, the others 1 long, as repeng's.
    Natural,
}

impl Default for Length {
    fn default() -> Self {
        Self::Share(0.1)
    }
}

/// How a vector is made of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How states become a direction.
    pub method: Method,
    /// Where in a text its state is read.
    pub at: At,
    /// The blocks to act on.
    pub layers: RangeInclusive<usize>,
    /// How long the steps are.
    pub length: Length,
    /// For [`Method::Vjp`] the block whose contrast is pulled back, after all that it acts on; the last but
    /// two unless given.
    pub target: Option<usize>,
}

/// The blocks that steering acts on unless told otherwise: the middle 20 to 80 %.
#[must_use]
pub fn middle_layers(num_layers: usize) -> RangeInclusive<usize> {
    num_layers / 5..=(num_layers * 4 / 5).saturating_sub(1)
}
