//! What else in an adapter's folder belongs to it, by its config alone.

use crate::checkpoint::{Config, Parts};
use crate::methods::method_of;

/// What belongs to an adapter besides its config and its weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Besides {
    /// A second file of tensors.
    pub file: Option<&'static str>,
    /// Whether its subfolders `0`, `1`, … are experts that it mixes, and no adapters of their own.
    pub experts: bool,
}

/// What belongs to the adapter of this `adapter_config.json`; nothing where that cannot be read, as loading
/// will say.
#[must_use]
pub fn besides(config: &[u8]) -> Besides {
    let config = Config::parse("adapter", config);
    let Ok(method) = config.and_then(|config| method_of(&config)) else {
        return Besides::default();
    };
    let extras = method.extras();
    Besides {
        file: extras.beside,
        experts: matches!(extras.parts, Some(Parts::Experts { .. })),
    }
}
