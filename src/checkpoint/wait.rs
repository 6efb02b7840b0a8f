//! Numbers of the base in host memory, read before a method loads: where a device has to be waited for, it
//! cannot be asked in between.

use super::extras::Base;
use super::loader::Loader;
use super::saved;
use crate::device::read_back;
use crate::error::Result;

impl Loader<'_> {
    /// Reads what the method needs and what frozen copies are compared with, one matrix after the other.
    /// What names modules that the model lacks is passed over: it is refused when it is loaded.
    ///
    /// # Errors
    /// [`DeviceLost`](crate::Error::DeviceLost) when the device does not give it.
    pub(crate) async fn wait(&mut self, needed: Base) -> Result<()> {
        let mut targets = saved::frozen(self);
        if let Base::Weights(parameter) = needed {
            targets.extend(self.targets(parameter).unwrap_or_default());
        }
        for target in targets {
            if !self.base.contains_key(&target.site) {
                let weight = read_back(self.base_weight(&target)).await?;
                self.base.insert(target.site, weight);
            }
        }
        if let Base::Gains(parameter) = needed {
            for (site, key) in self.norms(parameter).unwrap_or_default() {
                if let Ok(gain) = self.base_gain(site, &key) {
                    self.base.insert(site, read_back(gain).await?);
                }
            }
        }
        Ok(())
    }
}
