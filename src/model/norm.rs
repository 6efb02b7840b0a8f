//! RMSNorm, `x / √(mean x² + ε) ∘ γ`, and LayerNorm, which takes off the mean first and adds a bias.

use burn::tensor::Tensor;

use super::lanes::{self, Plans};
use crate::kernels;
use crate::tensor::{telling, to_host};
use processor::slices;

/// A norm's gain and what keeps it from dividing by 0.
#[derive(Debug)]
pub(super) struct NormLayer {
    /// γ `[width]`
    pub(super) gain: Tensor<1>,
    /// ε
    pub(super) epsilon: f64,
    /// Whether it is LayerNorm.
    pub(super) centred: bool,
    /// Of LayerNorm, where it has one: β `[width]`.
    pub(super) bias: Option<Tensor<1>>,
}

impl NormLayer {
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
        if kernels::is_gpu(&x) && !self.centred {
            return kernels::norm(x, gain, self.epsilon as f32);
        }
        let x = if self.centred {
            x.clone() - x.mean_dim(1)
        } else {
            x
        };
        let length = (x.clone().square().mean_dim(1) + self.epsilon).sqrt();
        let y = (x / telling(length)) * gain.unsqueeze();
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    /// RMSNorm over slices in host memory: `x [t, width] -> [t, width]`.
    pub(super) fn on_host(&self, x: &[f32]) -> Vec<f32> {
        let gain = to_host(self.gain.clone());
        slices::rms_norm(x, &gain, self.epsilon as f32)
    }
}
