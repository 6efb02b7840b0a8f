//! What was computed of the base, kept while one adapter is read again and again, as training does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::Tensor;

use crate::hooks::Site;

/// Directions of weights, by layer and range.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(pub(super) Rc<RefCell<BTreeMap<Directions, Factors>>>);

/// A layer, and a range of its directions.
type Directions = (Site, usize, usize);

/// A `[n, i]` and B `[o, n]`.
pub(super) type Factors = (Tensor<2>, Tensor<2>);
