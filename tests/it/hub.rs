//! The program and the Hub: models and adapters by their ids, against a server that behaves like it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use steering_playground::weights::sha256;

use crate::common::golden_dir;

/// What is told of each request for a file: its path, and from which byte on.
type Log = Arc<Mutex<Vec<(String, u64)>>>;

/// A server with repositories, and a cache for who fetches from it.
struct Hub {
    url: String,
    cache: PathBuf,
    log: Log,
    /// The next file ends after so many bytes.
    cut: Arc<Mutex<Option<usize>>>,
}

impl Hub {
    /// `files` are paths such as `owner/name/file`. A repository `x/gated` lists its files and gives
    /// none; what lies in `x/lies` has another SHA-256 than is listed; each page of `x/endless` names a
    /// next one.
    fn start(name: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let cache = std::env::temp_dir().join(format!("hub-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&cache);
        let (log, cut) = (Log::default(), Arc::new(Mutex::new(None)));
        let files = files
            .iter()
            .map(|(path, body)| ((*path).to_owned(), body.clone()))
            .collect();
        let (own_log, own_cut, own_url) = (log.clone(), cut.clone(), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &files, &own_url, &own_log, &own_cut);
            }
        });
        Self {
            url,
            cache,
            log,
            cut,
        }
    }

    fn steer(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steer"));
        command
            .env("HF_ENDPOINT", &self.url)
            .env("XDG_CACHE_HOME", &self.cache);
        command.args(args).output().expect("the program starts")
    }

    /// What was fetched since the last time.
    fn fetched(&self) -> Vec<(String, u64)> {
        self.log.lock().expect("nobody panics").split_off(0)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.cache);
    }
}

fn answer(
    mut stream: &TcpStream,
    files: &HashMap<String, Vec<u8>>,
    url: &str,
    log: &Log,
    cut: &Mutex<Option<usize>>,
) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    let range = head.iter().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("range: bytes=")
            .map(String::from)
    });
    let start: u64 = range
        .and_then(|range| range.trim_end_matches('-').parse().ok())
        .unwrap_or(0);
    let mut send = |status: &str, headers: &str, body: &[u8], most: usize| {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body[..most.min(body.len())]);
    };
    if let Some((repository, _)) = path
        .strip_prefix("/api/models/")
        .and_then(|rest| rest.split_once("/tree/main"))
    {
        let inside = |(path, body): (&String, &Vec<u8>)| {
            let name = path.strip_prefix(repository)?.strip_prefix('/')?;
            let hash = sha256(if repository == "x/lies" {
                b"another"
            } else {
                body
            });
            Some(
                json!({"type": "file", "path": name, "size": body.len(), "oid": "b", "lfs": {"oid": hash, "size": body.len()}}),
            )
        };
        let listed: Vec<_> = files.iter().filter_map(inside).collect();
        // In two pages, the second of which the first names.
        let (first, second) = listed.split_at(listed.len() / 2);
        return match (listed.len(), path.contains("cursor")) {
            (0, _) => send("401 Unauthorized", "X-Error-Code: RepoNotFound\r\n", b"", 0),
            (_, true) if repository != "x/endless" => send(
                "200 OK",
                "",
                json!(second).to_string().as_bytes(),
                usize::MAX,
            ),
            _ => {
                let link = format!("Link: <{url}{path}&cursor=1>; rel=\"next\"\r\n");
                send(
                    "200 OK",
                    &link,
                    json!(first).to_string().as_bytes(),
                    usize::MAX,
                );
            }
        };
    }
    if let Some((repository, name)) = path[1..].split_once("/resolve/main/") {
        return if repository == "x/gated" {
            send("401 Unauthorized", "X-Error-Code: GatedRepo\r\n", b"", 0);
        } else {
            send(
                "302 Found",
                &format!("Location: {url}/store/{repository}/{name}\r\n"),
                b"",
                0,
            );
        };
    }
    let Some((name, body)) = path
        .strip_prefix("/store/")
        .and_then(|name| files.get_key_value(name))
    else {
        return send("404 Not Found", "", b"", 0);
    };
    log.lock()
        .expect("nobody panics")
        .push((name.clone(), start));
    let most = cut
        .lock()
        .expect("nobody panics")
        .take()
        .unwrap_or(usize::MAX);
    let range = format!(
        "Content-Range: bytes {start}-{}/{}\r\n",
        body.len() - 1,
        body.len()
    );
    match start {
        0 => send("200 OK", "", body, most),
        _ => send("206 Partial Content", &range, &body[start as usize..], most),
    }
}

fn golden(path: &str) -> Vec<u8> {
    fs::read(golden_dir().join(path)).expect("a golden file")
}

fn base(repository: &str) -> Vec<(String, Vec<u8>)> {
    ["config.json", "model.safetensors"]
        .map(|name| {
            (
                format!("{repository}/{name}"),
                golden(&format!("base/{name}")),
            )
        })
        .into()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    files
        .iter()
        .map(|(path, body)| (path.as_str(), body.clone()))
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_model_and_an_adapter_come_by_their_ids_and_are_kept() {
    let mut files = base("x/base");
    files.extend([
        ("x/base/README.md".into(), b"a model".to_vec()),
        (
            "x/tone/adapter_config.json".into(),
            golden("lora/adapter_config.json"),
        ),
        (
            "x/tone/adapter_model.safetensors".into(),
            golden("lora/adapter_model.safetensors"),
        ),
        ("x/tone/optimizer.bin".into(), vec![0; 9]),
    ]);
    let hub = Hub::start("kept", &borrowed(&files));
    let here = |path: &str| golden_dir().join(path).to_string_lossy().into_owned();
    let tokens = ["logits", "--tokens", "1,2,3"];
    let run = |hub: &Hub, model: &str, adapter: &str| {
        hub.steer(&[&tokens[..], &["--model", model, "--adapter", adapter]].concat())
    };
    let local = run(&hub, &here("base"), &here("lora"));
    assert!(local.status.success(), "{}", said(&local));
    assert_eq!(hub.fetched(), []);

    let found = run(&hub, "hub:x/base", "x/tone");
    assert!(found.status.success(), "{}", said(&found));
    assert_eq!(found.stdout, local.stdout);
    let mut names: Vec<String> = hub.fetched().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "x/base/config.json",
            "x/base/model.safetensors",
            "x/tone/adapter_config.json",
            "x/tone/adapter_model.safetensors"
        ]
    );

    let again = run(
        &hub,
        &format!("{}/x/base", hub.url),
        "hub:x/tone/adapter_model.safetensors",
    );
    assert_eq!(again.stdout, local.stdout, "{}", said(&again));
    assert_eq!(hub.fetched(), [], "kept");
}

#[test]
fn a_file_by_its_address_brings_its_config_along() {
    let files = [
        ("a/adapter_config.json", golden("lora/adapter_config.json")),
        (
            "a/adapter_model.safetensors",
            golden("lora/adapter_model.safetensors"),
        ),
    ];
    let hub = Hub::start("address", &files);
    let address = format!("{}/store/a/adapter_model.safetensors", hub.url);
    let found = hub.steer(&["inspect", &address]);
    assert!(found.status.success(), "{}", said(&found));
    assert_eq!(hub.fetched().len(), 2);
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let files = base("x/base");
    let hub = Hub::start("cut", &borrowed(&files));
    let run = || {
        hub.steer(&[
            "logits",
            "--tokens",
            "1",
            "--model",
            "hub:x/base/model.safetensors",
        ])
    };
    *hub.cut.lock().expect("nobody panics") = Some(100_000);
    let cut = run();
    assert!(
        !cut.status.success() && said(&cut).contains("[network]"),
        "{}",
        said(&cut)
    );
    let weights = "x/base/model.safetensors".to_owned();
    assert_eq!(hub.fetched(), [(weights.clone(), 0)]);
    let whole = run();
    assert!(whole.status.success(), "{}", said(&whole));
    assert_eq!(hub.fetched().first(), Some(&(weights, 100_000)));
}

#[test]
fn what_cannot_be_had_says_why() {
    let files = [
        base("x/gated"),
        base("x/lies"),
        base("x/endless"),
        vec![("x/notes/README.md".into(), b"notes".to_vec())],
    ]
    .concat();
    let hub = Hub::start("refused", &borrowed(&files));
    let table = [
        (
            "hub:x/nowhere",
            "[not-found]",
            "there is no such repository, or it is private (401)",
        ),
        ("hub:x/gated", "[gated]", "owner's terms"),
        ("hub:x/lies", "[hash-mismatch]", "expected"),
        ("hub:x/endless", "[bad-config]", "at most 200 pages"),
        ("hub:x/notes", "[missing-key]", "README.md"),
        ("hub:x/notes/m.gguf", "[not-found]", "there are README.md"),
        ("hub:x", "[bad-option]", "hub:owner/name"),
        ("x/nowhere/m.gguf", "[not-found]", "x/nowhere"),
        // A path with a slip in it is none of the Hub's.
        ("nowhere/m.gguf", "[io]", "nowhere/m.gguf"),
        ("./x/nowhere", "[io]", "./x/nowhere"),
    ];
    for (model, code, words) in table {
        let run = hub.steer(&["logits", "--tokens", "1", "--model", model]);
        let said = said(&run);
        assert!(
            !run.status.success() && said.contains(code) && said.contains(words),
            "{model}: {said}"
        );
    }
}
