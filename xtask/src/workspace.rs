//! Where things are: the repository, the build output, the cache.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, OrMend, Result};
use crate::model;
use crate::process::run;

/// The folders that the commands work in.
pub struct Workspace {
    /// The repository's root.
    pub root: PathBuf,
    /// Cargo's output folder.
    pub target: PathBuf,
    /// Tools and model, kept across clones of the repository.
    pub cache: PathBuf,
}

impl Workspace {
    pub fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .map(Path::to_path_buf)
            .filter(|root| root.join("Cargo.lock").is_file())
            .ok_or_else(|| {
                Failure::new(
                    "the repository was not found",
                    "run this as `cargo xtask` inside it",
                )
            })?;
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Ok(Self {
            target,
            cache: cache()?,
            root,
        })
    }

    /// The page's files.
    pub fn www(&self) -> PathBuf {
        self.root.join("www")
    }

    /// The WebAssembly package.
    pub fn pkg(&self) -> PathBuf {
        self.root.join("pkg")
    }

    /// The folder of the model file.
    pub fn models(&self) -> PathBuf {
        self.cache.join("models")
    }

    /// The model file, whether it is there or not.
    pub fn model(&self) -> PathBuf {
        self.models().join(model::FILE)
    }

    /// The program `steer`, brought up to date.
    pub fn steer(&self) -> Result<PathBuf> {
        run(
            self.cargo().args(["build", "--release", "--bin", "steer"]),
            "mend what the compiler says",
        )?;
        let steer = self.target.join("release").join("steer");
        Ok(steer.with_extension(env::consts::EXE_EXTENSION))
    }

    /// Cargo of the toolchain that runs us, in the repository.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        self.prepare(&mut cargo);
        cargo
    }

    /// Lets `command` work in the repository as if it had been started by
    /// hand: what `cargo run` told this program about itself is taken away,
    /// so that it does not change what builds are made of.
    pub fn prepare(&self, command: &mut Command) {
        let of_cargo = [
            "CARGO_BIN_NAME",
            "CARGO_CRATE_NAME",
            "CARGO_PRIMARY_PACKAGE",
        ];
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_")
                || text.starts_with("CARGO_MANIFEST_")
                || of_cargo.contains(&text.as_ref())
            {
                command.env_remove(&name);
            }
        }
        for name in ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
            match env::var_os(name).map(|paths| self.without_rust_libraries(&paths)) {
                Some(paths) if paths.is_empty() => command.env_remove(name),
                Some(paths) => command.env(name, paths),
                None => command,
            };
        }
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
    }

    /// `paths` without those that cargo and rustup add: ours, another
    /// toolchain's programs must not load their libraries from them.
    fn without_rust_libraries(&self, paths: &OsString) -> OsString {
        let kept = env::split_paths(paths).filter(|path| {
            !path.starts_with(&self.target)
                && !path
                    .components()
                    .any(|part| part.as_os_str() == "toolchains")
        });
        env::join_paths(kept).unwrap_or_default()
    }
}

fn cache() -> Result<PathBuf> {
    let named = |variable| {
        env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = named("PLAYGROUND_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("steering-playground")))
        .or_else(|| Some(named("LOCALAPPDATA")?.join("steering-playground")))
        .or_else(|| Some(named("HOME")?.join(".cache").join("steering-playground")))
        .ok_or_else(|| {
            Failure::new(
                "no cache folder is known",
                "set PLAYGROUND_CACHE to a folder",
            )
        })?;
    let mend = "set PLAYGROUND_CACHE to a folder that can be written";
    let problem = format!("the cache folder {} cannot be made", folder.display());
    fs::create_dir_all(&folder).or_mend(&problem, mend)?;
    fs::canonicalize(&folder).or_mend(&problem, mend)
}
