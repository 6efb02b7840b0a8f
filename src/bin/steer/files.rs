//! Reading files, and errors that name them.

use std::fs;
use std::io;
use std::path::Path;

use steering_playground::error::{Error, Result};

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| io_error(path, &error))
}

/// A file of text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| io_error(path, &error))
}

/// The error of reading or writing a file.
pub(crate) fn io_error(path: &Path, error: &io::Error) -> Error {
    Error::Io {
        file: path.display().to_string(),
        why: error.to_string(),
    }
}
