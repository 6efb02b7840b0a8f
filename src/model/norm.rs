//! RMSNorm: `x / √(mean x² + ε) ∘ γ`.

use burn::tensor::Tensor;

use super::lanes::{self, Plans};
use crate::kernels;
use crate::tensor::{slices, telling, to_host};

/// A norm's gain and what keeps it from dividing by 0.
#[derive(Debug)]
pub(super) struct RmsNorm {
    /// γ `[width]`
    pub(super) gain: Tensor<1>,
    /// ε
    pub(super) epsilon: f64,
}

impl RmsNorm {
    /// `x [t, width] -> [t, width]`, each lane's rows with changes `[width]` of the gain; without any
    /// the base's own. NaN for a row whose squares overflow.
    pub(super) fn forward(&self, x: Tensor<2>, changes: &Plans<Vec<Tensor<1>>>) -> Tensor<2> {
        if changes.iter().all(|(_, changes)| changes.is_empty()) {
            return self.with_gain(x, self.gain.clone());
        }
        lanes::change(
            x,
            changes,
            |_| false,
            |x, changes| self.with_gain(x, self.changed(changes)),
        )
    }

    /// The gain with these changes.
    pub(super) fn changed(&self, changes: &[Tensor<1>]) -> Tensor<1> {
        let changes = changes.iter().cloned();
        changes.fold(self.gain.clone(), |gain, change| gain + change)
    }

    fn with_gain(&self, x: Tensor<2>, gain: Tensor<1>) -> Tensor<2> {
        if kernels::is_gpu(&x) {
            return kernels::norm(x, gain, self.epsilon as f32);
        }
        let length = (x.clone().square().mean_dim(1) + self.epsilon).sqrt();
        (x / telling(length)) * gain.unsqueeze()
    }

    /// The same over slices in host memory: `x [t, width] -> [t, width]`.
    pub(super) fn on_host(&self, x: &[f32]) -> Vec<f32> {
        let gain = to_host(self.gain.clone());
        slices::rms_norm(x, &gain, self.epsilon as f32)
    }
}
