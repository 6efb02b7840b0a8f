//! Debian packages, where there is apt.

use std::process::Command;
use std::sync::Once;

use crate::failure::Result;
use crate::process::{find, output, run, say};

/// True if this machine installs packages with apt.
pub fn present() -> bool {
    find("apt-get").is_some()
}

/// True if the Debian package is installed.
pub fn has(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    output(&mut query).as_deref() == Some("installed")
}

/// Installs those of `packages` that are missing.
pub fn install(packages: &[&str]) -> Result {
    static UPDATE: Once = Once::new();
    let missing: Vec<_> = packages
        .iter()
        .copied()
        .filter(|package| !has(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say("apt", format!("installing {}", missing.join(", ")));
    // A stale list is no reason to stop: the install below fails if it matters.
    UPDATE.call_once(|| drop(run(apt_get().arg("update"), "")));
    run(
        apt_get()
            .args(["--yes", "--no-install-recommends", "install"])
            .args(&missing),
        &format!("install these packages by hand: {}", missing.join(" ")),
    )
}

/// `program`, with the rights to change the system.
pub fn as_root(program: &str) -> Command {
    let is_root = output(Command::new("id").arg("-u")).as_deref() == Some("0");
    if is_root || find("sudo").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--non-interactive").arg(program);
    command
}

fn apt_get() -> Command {
    // Through `env`, as sudo does not hand variables on.
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]);
    command
}
