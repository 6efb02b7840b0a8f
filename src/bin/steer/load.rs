//! From the paths that a user gives to a session: the device, the model, its adapters.

use std::fs;
use std::path::{Path, absolute};

use burn::tensor::Device;
use steering_playground::adapters::load as load_adapter;
use steering_playground::checkpoint::AdapterFiles;
use steering_playground::device::{cpu, gpu};
use steering_playground::error::{Error, Result};
use steering_playground::hooks::{Mask, Tokens};
use steering_playground::model::Weights;
use steering_playground::open::open as open_model;
use steering_playground::session::Session;
use steering_playground::weights::NativeFile;

use crate::adapter_files::adapter_files;
use crate::args::{DeviceArg, Experts, SessionArgs, Task};
use crate::hub;

/// The model of the arguments with its adapters, at their coefficients. Prints warnings and notes on
/// standard error.
pub(crate) async fn open(args: &SessionArgs) -> Result<Session> {
    Ok(open_with_files(args).await?.0)
}

/// The same with the files that the adapters were loaded from.
pub(crate) async fn open_with_files(args: &SessionArgs) -> Result<(Session, Vec<AdapterFiles>)> {
    check_counts(args)?;
    let device = open_device(args.device).await?;
    let weights = if args.fast {
        Weights::Quantised
    } else {
        Weights::Dense
    };
    let session = load_model(&args.model, &device, weights).await?;
    let mut loaded = Vec::with_capacity(args.adapters.len());
    for (at, path) in args.adapters.iter().enumerate() {
        let task = args.tasks.get(at).and_then(|Task(number)| *number);
        let weights = args.experts.get(at);
        let files = AdapterFiles {
            task,
            expert_weights: weights.and_then(|Experts(weights)| weights.clone()),
            ..adapter_files(path)?
        };
        let adapter = load_adapter(&files, &session.model)?;
        let name = adapter.name.clone();
        for warning in &adapter.warnings {
            eprintln!("steer: warning: {name}: {warning}");
        }
        let mut stack = session.stack.borrow_mut();
        let id = stack.add(adapter);
        if let Some(&law) = args.laws.get(at) {
            stack.set_law(id, law)?;
        }
        let text = |list: &[String]| list.get(at).cloned().unwrap_or_default();
        let mask = Mask {
            positions: Tokens::parse(&text(&args.positions))?,
            ..Mask::read(&text(&args.layers), &text(&args.modules))?
        };
        stack.set_mask(id, mask)?;
        let remarks = stack.entries().last().map(|entry| &entry.mask_remarks);
        for remark in remarks.into_iter().flatten() {
            eprintln!("steer: note: {name}: {remark}");
        }
        stack.set_coefficient(id, args.coefficients.get(at).copied().unwrap_or(1.0))?;
        loaded.push(files);
    }
    Ok((session, loaded))
}

/// Refuses more values of an option than there are adapters.
fn check_counts(args: &SessionArgs) -> Result<()> {
    for (name, given) in [
        ("coeff", args.coefficients.len()),
        ("task", args.tasks.len()),
        ("experts", args.experts.len()),
        ("law", args.laws.len()),
        ("layers", args.layers.len()),
        ("modules", args.modules.len()),
        ("positions", args.positions.len()),
    ] {
        if given > args.adapters.len() {
            return Err(Error::BadOption {
                name,
                expected: "at most one for each --adapter",
                found: format!("{given} for {}", args.adapters.len()),
            });
        }
    }
    Ok(())
}

pub(crate) async fn open_device(device: DeviceArg) -> Result<Device> {
    match device {
        DeviceArg::Cpu => Ok(cpu()),
        DeviceArg::Gpu => gpu().await,
    }
}

/// The model in a file, or in a folder of files that belong together, or of the Hub.
pub(crate) async fn load_model(path: &Path, device: &Device, weights: Weights) -> Result<Session> {
    let path = &hub::model(path)?;
    let (folder, file_name) = if path.is_dir() {
        (path.as_path(), None)
    } else {
        // Opened only for its errors: there may be no such file.
        NativeFile::open(path)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        (path.parent().unwrap_or(Path::new("")), name)
    };
    let mut names = Vec::new();
    // For a file only its own folder matters; for a folder without a model the error lists the
    // subfolders that have one.
    let depth = if file_name.is_some() { 0 } else { 3 };
    list_files(folder, "", depth, &mut names);
    let shown = if folder.as_os_str().is_empty() {
        ".".into()
    } else {
        folder.display().to_string()
    };
    let shown = shown.trim_end_matches('/');
    let source = |name: &str| NativeFile::open(&folder.join(name));
    let (mut file, text) = open_model(shown, &names, file_name.as_deref(), false, source).await?;
    if file.metadata().is_none() {
        let path = absolute(folder).unwrap_or_else(|_| folder.to_owned());
        file.also_called(path.to_string_lossy());
    }
    if let Some(left_out) = file.left_out() {
        eprintln!("steer: warning: {}: {left_out}", file.name());
    }
    Session::load(&file, text, device, weights, |_| {}).await
}

/// Appends the files of a folder, and of its subfolders down to `depth`, to `names`: as paths
/// relative to the first folder, where `prefix` leads to this one.
fn list_files(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    const MAX_FILES: usize = 10_000;
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    // What cannot be listed may still be opened by its name.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() {
            names.push(format!("{prefix}{name}"));
        } else if !name.starts_with('.') {
            folders.push((entry.path(), format!("{prefix}{name}/")));
        }
    }
    for (folder, prefix) in folders {
        if depth > 0 && names.len() < MAX_FILES {
            list_files(&folder, &prefix, depth - 1, names);
        }
    }
}
