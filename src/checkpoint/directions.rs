//! Directions of the base's weights.

use std::ops::Range;

use super::known::Factors;
use super::loader::Loader;
use super::target::Target;
use crate::error::Result;
use crate::linalg::svd;

impl Loader<'_> {
    /// Thin factors `(A [n, i], B [o, n])` whose product is the part of a layer's weight in these of its
    /// directions, by falling strength.
    ///
    /// # Errors
    /// As [`Loader::base_weight_on_host`].
    pub fn directions(&self, target: &Target, range: Range<usize>) -> Result<Factors> {
        let key = (target.site, range.start, range.end);
        if let Some(factors) = self.known.0.borrow().get(&key) {
            return Ok(factors.clone());
        }
        let (i, o, n) = (target.i, target.o, range.len());
        let w = self.base_weight_on_host(target)?;
        let (a, b) = svd::truncated(&w, [o, i], range);
        let factors = (self.upload(a, [n, i]), self.upload(b, [o, n]));
        self.known.0.borrow_mut().insert(key, factors.clone());
        Ok(factors)
    }
}
