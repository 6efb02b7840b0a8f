//! A control vector to a path that a user gives: a folder, or a .gguf file.

use std::fs;
use std::path::Path;

use steering_playground::error::Result;
use steering_playground::extract::ControlVector;

use crate::files::io_error;

pub(crate) fn write(out: &Path, vector: &ControlVector) -> Result<()> {
    let put =
        |path: &Path, bytes: &[u8]| fs::write(path, bytes).map_err(|error| io_error(path, &error));
    let ends_in_gguf = out
        .extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("gguf"));
    if ends_in_gguf {
        return put(out, &vector.gguf()?);
    }
    fs::create_dir_all(out).map_err(|error| io_error(out, &error))?;
    put(&out.join("adapter_config.json"), vector.config().as_bytes())?;
    put(
        &out.join("adapter_model.safetensors"),
        &vector.safetensors()?,
    )
}
