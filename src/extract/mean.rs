//! Mean difference: `v = mean h(positive) − mean h(negative)`. Of what AxBench compared (Wu et al. 2025,
//! <https://arxiv.org/abs/2501.17148>) it was the best detector.

use super::contrast::Contrast;
use crate::linalg::svd::norm;

/// `[d]`, or why there is none.
pub(super) fn direction(contrast: &Contrast) -> Result<Vec<f64>, String> {
    let mean = contrast.mean_difference();
    // What is left then is rounding, and stretching it would give a direction of noise.
    if norm(&mean) <= contrast.smallest() {
        return Err("the differences of the pairs cancel each other".into());
    }
    Ok(mean)
}
