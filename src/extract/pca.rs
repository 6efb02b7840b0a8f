//! Principal components of the pairs' differences, as repeng (Vogel 2024, <https://github.com/vgel/repeng>).
//!
//! ```text
//! x_i = h(positive_i) − h(negative_i)
//! pca-diff     the direction in which the x_i vary most: the largest component of x_i − mean x
//! pca-center   the direction in which they are longest: the largest component of ±x_i / 2 about 0
//! ```
//! The second is each state less the mean of its pair; what all pairs have in common counts there, and is
//! taken away in the first. Of both ends the one is positive to which more pairs' positive text projects
//! further than its negative one; where as many do as do not, the one to which the mean difference points.

use super::contrast::Contrast;
use crate::linalg::svd::{norm, strongest};

/// `[d]`, of length 1, or why there is none.
pub(super) fn direction(contrast: &Contrast, centre: bool) -> Result<Vec<f64>, String> {
    let mut differences = contrast.differences();
    let mean = contrast.mean_difference();
    if centre {
        if differences.len() == 1 {
            return Err("one pair has no variation; give more, or take pca-center".into());
        }
        for x in &mut differences {
            x.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
        }
    }
    if differences.iter().all(|x| norm(x) <= contrast.smallest()) {
        return Err(if centre {
            "all pairs have the same difference, so that it does not vary".into()
        } else {
            "the pairs have no differences".into()
        });
    }
    let spread = |v: &[f64]| {
        let mut sum = vec![0.0; v.len()];
        for x in &differences {
            let along = dot(x, v);
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += along * x);
        }
        sum
    };
    let mut direction = strongest(spread, mean.len(), 1).swap_remove(0);
    let sides = contrast
        .differences()
        .into_iter()
        .map(|x| dot(&x, &direction));
    let votes: i64 = sides
        .map(|side| i64::from(side > 0.0) - i64::from(side < 0.0))
        .sum();
    if votes < 0 || votes == 0 && dot(&mean, &direction) < 0.0 {
        direction = direction.iter().map(|x| -x).collect();
    }
    Ok(direction)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
