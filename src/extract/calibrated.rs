//! A vector brought to a strength in nats, so that c = 1 means the same for all.

use std::cell::RefCell;
use std::rc::Rc;

use super::vector::ControlVector;
use crate::adapters::{Stack, load_waiting};
use crate::checkpoint::AdapterFiles;
use crate::dose::{Contrast, Progress, Side, Subject, calibrate_side};
use crate::error::Result;
use crate::session::Session;
use crate::text::Variables;

impl ControlVector {
    /// Its files, as PEFT's lie in a folder.
    ///
    /// # Errors
    /// As [`Self::safetensors`].
    pub fn files(&self, name: &str) -> Result<AdapterFiles> {
        Ok(AdapterFiles {
            name: name.into(),
            config: Some(self.config().into_bytes()),
            weights: self.safetensors()?,
            ..AdapterFiles::default()
        })
    }

    /// The same direction, as long that c = 1 has this strength on the neutral answers: the 95th percentile
    /// of the KL from the base. Where no length has it, the vector comes back as it is, and the
    /// side says how far it was looked. Other adapters of the session take no part.
    ///
    /// # Errors
    /// Those of [`calibrate_side`] and of `progress`.
    pub async fn calibrated(
        self,
        session: &Session,
        contrast: &Contrast,
        nats: f64,
        progress: impl AsyncFnMut(Progress) -> Result<()>,
    ) -> Result<(Self, Side)> {
        let adapter = load_waiting(&self.files("vector")?, &session.model).await?;
        let mut stack = Stack::default();
        let id = stack.add(adapter);
        let alone = Session {
            stack: Rc::new(RefCell::new(stack)),
            ..session.clone()
        };
        let variables = Variables::new();
        let subject = Subject::new(&alone, vec![(id, 1.0)], &variables);
        let mut found = calibrate_side(&subject, contrast, 1.0, nats, progress).await?;
        let Some(c) = found.c else {
            return Ok((self, found));
        };
        found.c = Some(1.0);
        Ok((Self::sum(&[(c, &self)])?, found))
    }
}
