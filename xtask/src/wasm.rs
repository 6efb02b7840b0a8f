//! The Rust toolchain that builds for `wasm32-unknown-unknown`.
//!
//! Usually it is the one that runs us, after `rustup target add`. Where rustup
//! cannot fetch the target, Debian's `rustc-web` takes its place; that package
//! holds the standard library only as source, so it is built once here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::apt;
use crate::failure::{Failure, OrMend, Result};
use crate::process::{find, output, path_with, run, say, succeeds};
use crate::workspace::Workspace;

/// The triple of a browser's WebAssembly.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// A toolchain that has the WebAssembly target.
pub enum Toolchain {
    /// The toolchain that runs us.
    Active,
    /// Debian's, in `/usr/bin`.
    Debian,
}

impl Toolchain {
    /// Finds a toolchain with the target, or installs one.
    pub fn prepare(workspace: &Workspace) -> Result<Self> {
        let active = active_rustc();
        let debian = Path::new(DEBIAN_BIN).join("rustc");
        let found = if !is_debians(&active) && has_target(&active) {
            Self::Active
        } else if is_debians(&debian) && has_target(&debian) && find("wasm-ld").is_some() {
            Self::Debian
        } else if add_with_rustup(workspace) && has_target(&active) {
            Self::Active
        } else if apt::present() {
            install_debians(workspace, &debian)?;
            Self::Debian
        } else {
            return Err(Failure::new(
                format!("no Rust toolchain here can build for {TARGET}"),
                format!("run `rustup target add {TARGET}` (rustup is at https://rustup.rs)"),
            ));
        };
        let rustc = match found {
            Self::Active => active,
            Self::Debian => debian,
        };
        let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
        say("wasm target", version);
        Ok(found)
    }

    /// This toolchain's cargo, in the repository.
    pub fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = match self {
            Self::Active => return workspace.cargo(),
            Self::Debian => Command::new(Path::new(DEBIAN_BIN).join("cargo")),
        };
        self.prepare_command(workspace, &mut cargo, None);
        cargo
    }

    /// Installs this toolchain's linter; rustup's has one by default.
    pub fn prepare_clippy(&self) -> Result {
        match self {
            Self::Active => Ok(()),
            Self::Debian => apt::install(&["rust-web-clippy"]),
        }
    }

    /// Lets `command`, which starts cargo by itself, find this toolchain's,
    /// and the programs in `tools` before others.
    pub fn prepare_command(
        &self,
        workspace: &Workspace,
        command: &mut Command,
        tools: Option<&Path>,
    ) {
        workspace.prepare(command);
        let mut folders: Vec<PathBuf> = tools.map(Path::to_path_buf).into_iter().collect();
        if matches!(self, Self::Debian) {
            command
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO")
                .env("RUSTC", Path::new(DEBIAN_BIN).join("rustc"))
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
            folders.push(DEBIAN_BIN.into());
        }
        command.env("PATH", path_with(&folders));
    }
}

fn active_rustc() -> PathBuf {
    env::var_os("RUSTC")
        .unwrap_or_else(|| "rustc".into())
        .into()
}

fn is_debians(rustc: &Path) -> bool {
    output(Command::new(rustc).args(["--print", "sysroot"])).as_deref() == Some("/usr")
}

/// True if `rustc` can compile something for the target: its standard library
/// is there and of the compiler's own version.
fn has_target(rustc: &Path) -> bool {
    let mut command = Command::new(rustc);
    command
        .args([
            "--target",
            TARGET,
            "--crate-name",
            "probe",
            "--crate-type",
            "rlib",
        ])
        .args(["--emit", "metadata=-", "-"]);
    let source = "pub fn probe() -> String { String::new() }";
    let Ok(mut child) = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return false;
    };
    let written = child
        .stdin
        .take()
        .is_some_and(|mut input| std::io::Write::write_all(&mut input, source.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

fn add_with_rustup(workspace: &Workspace) -> bool {
    if find("rustup").is_none() {
        return false;
    }
    say("wasm target", format!("rustup target add {TARGET}"));
    succeeds(
        Command::new("rustup")
            .args(["target", "add", TARGET])
            .current_dir(&workspace.root),
    )
}

fn install_debians(workspace: &Workspace, rustc: &Path) -> Result {
    apt::install(&DEBIAN_PACKAGES)?;
    if !is_debians(rustc) {
        return Err(Failure::new(
            format!("{} is not Debian's", rustc.display()),
            format!("run `rustup target add {TARGET}`"),
        ));
    }
    if !has_target(rustc) {
        build_std(workspace, rustc)?;
    }
    Ok(())
}

/// Builds the standard library for the target from Debian's sources, by
/// building an empty crate, and puts it into Debian's toolchain.
fn build_std(workspace: &Workspace, rustc: &Path) -> Result {
    say(
        "wasm target",
        "building Debian's standard library for it (about two minutes)",
    );
    let mend = "see what the compiler says above";
    let folder = workspace.cache.join("wasm-std");
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).or_mend(format!("could not write {}", file.display()), mend)
    };
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).or_mend(format!("could not make {}", folder.display()), mend)?;
    write(
        "Cargo.toml",
        "[workspace]\n[package]\nname = \"empty\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n",
    )?;
    write("lib.rs", "")?;

    let mut cargo = Command::new(Path::new(DEBIAN_BIN).join("cargo"));
    Toolchain::Debian.prepare_command(workspace, &mut cargo, None);
    cargo
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .arg("-Zbuild-std=std,panic_abort,test");
    run(&mut cargo, mend)?;

    let built = folder
        .join("target")
        .join(TARGET)
        .join("release")
        .join("deps");
    let libraries = fs::read_dir(&built)
        .or_mend(format!("could not read {}", built.display()), mend)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "rlib")
        })
        // The empty crate itself.
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("libempty-"))
        });
    run(
        apt::as_root("install")
            .args(["-D", "--mode=644", "--target-directory"])
            .arg(format!("/usr/lib/rustlib/{TARGET}/lib"))
            .args(libraries),
        "run this as root or allow sudo",
    )?;
    drop(fs::remove_dir_all(&folder));
    if has_target(rustc) {
        Ok(())
    } else {
        Err(Failure::new(
            format!("Debian's rustc still cannot build for {TARGET}"),
            format!("remove /usr/lib/rustlib/{TARGET} and try again"),
        ))
    }
}
