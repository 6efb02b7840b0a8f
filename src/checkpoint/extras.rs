//! What few methods have: numbers of the base that they read in host memory, tasks, parts that a user may
//! weigh, files beside their own. Loader, command, package and page serve these without knowing whose
//! they are.

use super::config::Config;
use super::files::AdapterFiles;
use crate::error::{Error, Result};

/// What few methods have. Fields of the config are given by their names.
#[derive(Debug, Clone, Copy)]
pub struct Extras {
    /// What it reads of the base in host memory while it loads.
    pub base: fn(&Config) -> Base,
    /// The field that counts its tasks, one of which is run.
    pub tasks: Option<&'static str>,
    /// What it mixes.
    pub parts: Option<Parts>,
    /// A second file of tensors, beside its weights.
    pub beside: Option<&'static str>,
    /// Tensors that only matter in training: the field that says they are there, and a part of their keys.
    pub of_training: &'static [(&'static str, &'static str)],
}

/// What a method reads of the base in host memory. Where a device has to be waited for, it is read
/// before the method loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Nothing,
    /// The weights of the linear layers for which the file has a tensor of this name.
    Weights(&'static str),
    /// The gains of the norms for which the file has a tensor of this name.
    Gains(&'static str),
}

/// A check by the config and by which tensors are there.
pub type ByKeys = fn(&Config, &dyn Fn(&str) -> bool) -> Result<()>;

/// Parts that a method mixes. A user may give a weight for each.
#[derive(Debug, Clone, Copy)]
pub enum Parts {
    /// Adapters of their own, in the subfolders `0`, `1`, … of its folder.
    Experts {
        /// Has an entry for each.
        field: &'static str,
        /// Refuses a file that cannot weigh them itself.
        weighed: ByKeys,
    },
    /// In its own file. A task weighs them, unless the user does.
    Skills {
        /// Counts them.
        field: &'static str,
    },
}

impl Extras {
    /// Nothing of all this.
    pub const NONE: Self = Self {
        base: |_| Base::Nothing,
        tasks: None,
        parts: None,
        beside: None,
        of_training: &[],
    };

    /// Whether a tensor only matters in training, by the config.
    pub(crate) fn is_of_training(&self, config: &Config, key: &str) -> bool {
        let mut named = self.of_training.iter();
        named.any(|(field, part)| config.flag(field) && key.contains(part))
    }
}

impl Parts {
    /// How many a config names.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for skills that are not counted.
    pub(crate) fn count(self, config: &Config) -> Result<usize> {
        match self {
            Self::Experts { field, .. } => {
                let entries = config.get(field).and_then(|value| value.as_object());
                Ok(entries.map_or(0, serde_json::Map::len))
            }
            Self::Skills { field } => config.count(field),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Experts { .. } => "experts",
            Self::Skills { .. } => "skills",
        }
    }
}

/// What the user chose of an adapter's tasks and parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices<'a> {
    /// Counted from 0; 0 without tasks.
    pub(super) task: usize,
    pub(super) experts: &'a [AdapterFiles],
    pub(super) weights: Option<&'a [f32]>,
}

impl<'a> Choices<'a> {
    /// What was chosen for these files, as far as the method has it.
    ///
    /// # Errors
    /// [`Error::BadTask`] where one has to be chosen and was not, and for one that is not there;
    /// [`Error::MissingKey`] unless the files of all experts are there; [`Error::BadOption`] for other
    /// weights than one finite number for each part; all of them for what the method does not have.
    pub(crate) fn of(extras: &Extras, config: &Config, files: &'a AdapterFiles) -> Result<Self> {
        let experts = experts(extras.parts, config, &files.experts)?;
        let weights = files.expert_weights.as_deref();
        if let Some(weights) = weights {
            check_weights(extras.parts, config, weights)?;
        }
        let weighed = weights.is_some() && matches!(extras.parts, Some(Parts::Skills { .. }));
        let task = match extras.tasks {
            Some(field) if !weighed => task(config, config.count(field)?, files.task)?,
            tasks => {
                let why = match tasks {
                    Some(_) => "weights for the skills are given in its place",
                    None => "this method has no tasks",
                };
                no_task(config, files.task, why)?;
                0
            }
        };
        Ok(Self {
            task,
            experts,
            weights,
        })
    }
}

/// The files of a mixture's experts: one at least, and as many as the config names.
fn experts<'a>(
    parts: Option<Parts>,
    config: &Config,
    given: &'a [AdapterFiles],
) -> Result<&'a [AdapterFiles]> {
    let Some(parts @ Parts::Experts { .. }) = parts else {
        if given.is_empty() {
            return Ok(given);
        }
        return Err(Error::BadOption {
            name: "experts",
            expected: "left out: this method mixes none",
            found: given.len().to_string(),
        });
    };
    let count = parts.count(config)?;
    if given.len() == count && count > 0 {
        return Ok(given);
    }
    Err(Error::MissingKey {
        file: config.file.clone(),
        key: format!("{}/", given.len().min(count)),
        what: format!("{count} experts are named, {} were given", given.len()),
    })
}

fn check_weights(parts: Option<Parts>, config: &Config, weights: &[f32]) -> Result<()> {
    let (expected, found) = match parts {
        None => (
            "left out: this method mixes nothing",
            format!("{weights:?}"),
        ),
        Some(parts) => {
            let count = parts.count(config)?;
            if weights.len() == count && weights.iter().all(|weight| weight.is_finite()) {
                return Ok(());
            }
            let found = format!("{weights:?} for {count} {}", parts.name());
            ("one finite number for each", found)
        }
    };
    Err(Error::BadOption {
        name: "expert weights",
        expected,
        found,
    })
}

/// The task to run, of so many. Where there is only one it need not be chosen.
fn task(config: &Config, tasks: usize, asked: Option<usize>) -> Result<usize> {
    match asked {
        Some(task) if task < tasks => Ok(task),
        None if tasks == 1 => Ok(0),
        _ => Err(Error::BadTask {
            file: config.weights.clone(),
            found: asked.map_or_else(|| "not given".into(), |task| task.to_string()),
            expected: format!(
                "0 to {}: it was trained for {tasks}",
                tasks.saturating_sub(1)
            ),
        }),
    }
}

fn no_task(config: &Config, asked: Option<usize>, why: &str) -> Result<()> {
    match asked {
        None => Ok(()),
        Some(task) => Err(Error::BadTask {
            file: config.weights.clone(),
            found: task.to_string(),
            expected: format!("left out: {why}"),
        }),
    }
}
