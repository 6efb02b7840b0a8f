//! `cargo xtask serve`: build, then serve the page on this machine only.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::bundle;
use crate::failure::{Failure, OrMend, Result};
use crate::guide;
use crate::http::{Request, Site};
use crate::model;
use crate::process::say;
use crate::workspace::Workspace;

/// How many ports are tried from the wished one on.
const PORTS: u16 = 20;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_mins(1);

/// Builds what the page needs and serves it until interrupted.
pub fn command(workspace: &Workspace, port: u16, with_model: bool) -> Result {
    bundle::build(workspace)?;
    if with_model {
        model::fetch(workspace)?;
    }
    until_interrupted(site(workspace)?, port)
}

/// Serves a folder that `dist` wrote, as any static host would, until interrupted.
pub fn folder(folder: &Path, port: u16) -> Result {
    until_interrupted(written(folder)?, port)
}

/// Serves such a folder from a thread of its own, on any free port; returns its address.
pub fn folder_in_background(folder: &Path) -> Result<String> {
    spawn(written(folder)?)
}

/// The page has its policy in itself: other hosts add none.
fn written(folder: &Path) -> Result<Site> {
    if !folder.join("index.html").is_file() {
        return Err(Failure::new(
            format!("{} has no index.html", folder.display()),
            "write it with `cargo xtask dist`, or name the folder where it is",
        ));
    }
    Ok(Site::new(folder.to_owned(), Vec::new()).without_policy())
}

/// Serves the page from a thread of its own, on any free port; returns its address.
pub fn in_background(workspace: &Workspace) -> Result<String> {
    spawn(site(workspace)?)
}

/// Serves `scripts` below `bench/`, and others' modules, in the same way. They
/// make workers of text, which the page's own policy forbids; decoding would
/// count as loading.
pub fn for_bench(scripts: PathBuf, mounts: Vec<(&'static str, PathBuf)>) -> Result<String> {
    let mut mounts = mounts;
    mounts.push(("bench", scripts.clone()));
    spawn(
        Site::new(scripts, mounts)
            .without_policy()
            .without_codings(),
    )
}

fn until_interrupted(site: Site, port: u16) -> Result {
    let listener = listen(port)?;
    say("serving", format!("{} (Ctrl+C ends)", address(&listener)?));
    accept(&listener, site);
    Ok(())
}

fn spawn(site: Site) -> Result<String> {
    let listener = listen(0)?;
    let address = address(&listener)?;
    thread::spawn(move || accept(&listener, site));
    Ok(address)
}

/// The page at the root, the package, the model and the guide below it, as in `dist`.
fn site(workspace: &Workspace) -> Result<Site> {
    let mounts = vec![
        ("pkg", workspace.pkg()),
        ("models", workspace.models()),
        (
            guide::FOLDER.trim_end_matches('/'),
            guide::write(workspace)?,
        ),
    ];
    Ok(Site::new(workspace.www(), mounts))
}

fn listen(wished: u16) -> Result<TcpListener> {
    let mut error = None;
    for port in wished..=wished.saturating_add(PORTS - 1) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(found) => error = Some(found),
        }
    }
    let reason = error.map_or_else(String::new, |error| format!(": {error}"));
    Err(Failure::new(
        format!("no port from {wished} on could be opened{reason}"),
        "choose another one with --port",
    ))
}

fn address(listener: &TcpListener) -> Result<String> {
    let address = listener
        .local_addr()
        .or_mend("the port was lost", "run this again")?;
    Ok(format!("http://{address}/"))
}

fn accept(listener: &TcpListener, site: Site) {
    let site = Arc::new(site);
    for stream in listener.incoming().flatten() {
        let site = Arc::clone(&site);
        // A browser that goes away in the middle of an answer is no error of ours.
        thread::spawn(move || drop(converse(&stream, &site)));
    }
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::with_capacity(64 * 1024, stream);
    while let Some(request) = Request::read(&mut reader)? {
        let keep = site.answer(&request, &mut writer)?;
        writer.flush()?;
        if !keep {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_connection_carries_several_requests() {
        let folder = std::env::temp_dir().join(format!("xtask-serve-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.txt"), "text of a").unwrap();
        let listener = listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Site::new(folder.clone(), Vec::new());
        thread::spawn(move || accept(&listener, site));

        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream
            .write_all(
                b"GET /a.txt HTTP/1.1\r\n\r\nGET /a.txt HTTP/1.1\r\nConnection: close\r\n\r\n",
            )
            .unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("text of a").count(), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_taken_port_leads_to_the_next() {
        let first = listen(0).unwrap();
        let taken = first.local_addr().unwrap().port();
        let second = listen(taken).unwrap();
        assert_ne!(second.local_addr().unwrap().port(), taken);
    }
}
