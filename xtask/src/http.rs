//! As much of HTTP as a static file server needs: requests, ranges, codings,
//! media types, and the mapping of addresses to files.

mod range;
mod reply;
mod request;

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use crate::coding::{Coding, Effort, accepted};
use crate::hashed::is_hashed;
use range::{Part, Wanted, wanted};
use reply::{Content, Reply, compressible};
pub use request::Request;
use request::decode;

/// What the page may load and run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; \
    script-src 'self' 'wasm-unsafe-eval'; \
    worker-src 'self'; \
    connect-src 'self' https: http://localhost:* http://127.0.0.1:*; \
    img-src 'self' data:; \
    style-src 'self'; \
    object-src 'none'; \
    base-uri 'none'; \
    form-action 'none'";

/// The folders that are served: one for `/` and others for `/<name>/`.
pub struct Site {
    root: PathBuf,
    mounts: Vec<(&'static str, PathBuf)>,
    policy: Option<&'static str>,
    codes: bool,
    coded: Mutex<HashMap<(PathBuf, Coding), Coded>>,
}

/// A file that was coded for somebody: nothing if that made it no smaller.
struct Coded {
    /// Of the file.
    etag: String,
    /// Made by the first request for it; others wait meanwhile.
    bytes: Arc<OnceLock<Option<Arc<[u8]>>>>,
}

impl Site {
    pub fn new(root: PathBuf, mounts: Vec<(&'static str, PathBuf)>) -> Self {
        Self {
            root,
            mounts,
            policy: Some(CONTENT_SECURITY_POLICY),
            codes: true,
            coded: Mutex::default(),
        }
    }

    /// The same files, which may load and run whatever they like.
    pub fn without_policy(mut self) -> Self {
        self.policy = None;
        self
    }

    /// The same files, sent as they are.
    pub fn without_codings(mut self) -> Self {
        self.codes = false;
        self
    }

    /// Answers `request`; false if the connection cannot be used any longer.
    pub fn answer(&self, request: &Request, stream: &mut impl Write) -> io::Result<bool> {
        let keep = request.keeps_connection();
        let mut reply = Reply::new(stream, keep, self.policy);
        let send_body = match request.method.as_str() {
            "GET" => true,
            "HEAD" => false,
            _ => {
                return reply
                    .header("Allow", "GET, HEAD")
                    .text(405, "Method Not Allowed", true)
                    .map(|()| keep);
            }
        };
        let opened = self.resolve(request.address()).and_then(|path| {
            let file = File::open(&path).ok()?;
            let metadata = file.metadata().ok()?;
            Some((path, file, metadata))
        });
        let Some((path, file, metadata)) = opened else {
            return reply.text(404, "Not Found", send_body).map(|()| keep);
        };
        let plain_etag = etag(&metadata);
        let fresh = |coding: Coding| coding.fresh(&path, &metadata);
        if compressible(&path)
            || Coding::ALL
                .into_iter()
                .any(|coding| fresh(coding).is_some())
        {
            reply.header("Vary", "Accept-Encoding");
        }
        // A download that is continued needs the bytes of the file itself.
        let wishes = if self.codes && request.header("range").is_none() {
            accepted(request.header("accept-encoding"))
        } else {
            vec![None]
        };
        let mut plain = Some(file);
        let chosen = wishes.into_iter().find_map(|wish| match wish {
            Some(coding) => {
                let content = match fresh(coding) {
                    Some(beside) => Content::File(File::open(beside).ok()?),
                    None => Content::Memory(self.code(&path, &plain_etag, coding)?),
                };
                Some((wish, content))
            }
            None => Some((None, Content::File(plain.take()?))),
        });
        let Some((coding, content)) = chosen else {
            return reply.text(406, "Not Acceptable", send_body).map(|()| keep);
        };
        let etag = match coding {
            Some(coding) => {
                reply.header("Content-Encoding", coding.token());
                format!("{}-{}\"", plain_etag.trim_end_matches('"'), coding.token())
            }
            None => {
                reply.header("Accept-Ranges", "bytes");
                plain_etag
            }
        };
        let keeping = if is_hashed(request.address()) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        reply.header("ETag", &etag).header("Cache-Control", keeping);
        if request
            .header("if-none-match")
            .is_some_and(|tags| names(tags, &etag))
        {
            return reply.empty(304, "Not Modified").map(|()| keep);
        }
        let size = content.size()?;
        let range = request
            .header("range")
            .filter(|_| request.header("if-range").is_none_or(|tag| tag == etag));
        match range.map_or(Wanted::Whole, |range| wanted(range, size)) {
            Wanted::Whole => {
                let whole = Part {
                    start: 0,
                    length: size,
                };
                reply.content(200, "OK", &path, content, &whole, send_body)
            }
            Wanted::Part(part) => {
                let last = part.start + part.length - 1;
                reply
                    .header(
                        "Content-Range",
                        &format!("bytes {}-{last}/{size}", part.start),
                    )
                    .content(206, "Partial Content", &path, content, &part, send_body)
            }
            Wanted::Unsatisfiable => reply
                .header("Content-Range", &format!("bytes */{size}"))
                .text(416, "Range Not Satisfiable", send_body),
        }
        .map(|()| keep)
    }

    /// A file that compresses well, compressed; done once for each state of it, which `etag` tells.
    fn code(&self, path: &Path, etag: &str, coding: Coding) -> Option<Arc<[u8]>> {
        if !compressible(path) {
            return None;
        }
        let bytes = {
            let mut coded = self.coded.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (path.to_owned(), coding);
            // An older state of the file is never asked for again.
            coded.retain(|other, coded| *other != key || coded.etag == etag);
            let coded = coded.entry(key).or_insert_with(|| Coded {
                etag: etag.to_owned(),
                bytes: Arc::default(),
            });
            Arc::clone(&coded.bytes)
        };
        let compress = || {
            let plain = fs::read(path).ok()?;
            let coded = coding.compress(&plain, Effort::Quick);
            (coded.len() < plain.len()).then(|| coded.into())
        };
        bytes.get_or_init(compress).clone()
    }

    /// The file that an address names, if it is in the folder that the address
    /// belongs to and not hidden.
    fn resolve(&self, address: &str) -> Option<PathBuf> {
        let address = decode(address)?;
        let address = address.strip_prefix('/')?;
        let (mut folder, mut rest) = (&self.root, address);
        for (name, mount) in &self.mounts {
            if let Some(below) = address
                .strip_prefix(name)
                .and_then(|below| below.strip_prefix('/'))
            {
                (folder, rest) = (mount, below);
            }
        }
        let mut path = folder.clone();
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "" if segments.peek().is_none() => path.push("index.html"),
                "" => return None,
                _ if segment.starts_with('.') || segment.contains(['\\', ':', '\0']) => {
                    return None;
                }
                _ => path.push(segment),
            }
        }
        // A link must not lead out of the folder either.
        let path = path.canonicalize().ok()?;
        let inside = path.starts_with(folder.canonicalize().ok()?);
        (inside && path.is_file()).then_some(path)
    }
}

/// A strong validator: it changes with the file's size and time.
fn etag(metadata: &Metadata) -> String {
    let time = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!(
        "\"{:x}-{:x}\"",
        time.unwrap_or_default().as_nanos(),
        metadata.len()
    )
}

/// True if the list of an `If-None-Match` header has `etag`.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A site in a temporary folder, with a secret outside it.
    struct Fixture {
        folder: PathBuf,
        site: Site,
    }

    impl Fixture {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            let write = |path: &str, text: &str| {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("secret.txt", "secret");
            write("www/index.html", "<p>page");
            write("www/sub/index.html", "<p>sub");
            write("www/.hidden", "hidden");
            write("www/pkg.js", "page's");
            write("package/steering_playground.js", "0123456789");
            let site = Site::new(folder.join("www"), vec![("pkg", folder.join("package"))]);
            Self { folder, site }
        }

        /// Sends a request and returns the answer's status, head and body.
        fn ask(&self, method: &str, target: &str, headers: &str) -> (String, String, String) {
            let (head, body) = self.ask_bytes(method, target, headers);
            let status = head.split(' ').nth(1).unwrap();
            (
                status.to_owned(),
                head.clone(),
                String::from_utf8(body).unwrap(),
            )
        }

        fn ask_bytes(&self, method: &str, target: &str, headers: &str) -> (String, Vec<u8>) {
            let text = format!("{method} {target} HTTP/1.1\r\n{headers}\r\n");
            let request = Request::read(&mut text.as_bytes()).unwrap().unwrap();
            let mut answer = Vec::new();
            self.site.answer(&request, &mut answer).unwrap();
            let end = answer
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap();
            let head = String::from_utf8(answer[..end + 2].to_vec()).unwrap();
            (head, answer[end + 4..].to_vec())
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.folder));
        }
    }

    #[test]
    fn addresses_lead_to_their_folders() {
        let fixture = Fixture::new("addresses");
        for (target, body) in [
            ("/", "<p>page"),
            ("/?q=1", "<p>page"),
            ("/index.html", "<p>page"),
            ("/sub/", "<p>sub"),
            ("/pkg/steering_playground.js", "0123456789"),
            ("/pkg/steering_%70layground.js", "0123456789"),
            ("/pkg.js", "page's"),
        ] {
            let (status, _, found) = fixture.ask("GET", target, "");
            assert_eq!((status.as_str(), found.as_str()), ("200", body), "{target}");
        }
    }

    #[test]
    fn nothing_else_is_served() {
        let fixture = Fixture::new("outside");
        for target in [
            "/missing",
            "/sub",
            "/pkg/",
            "/.hidden",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/sub/..%2f..%2fsecret.txt",
            "/..%5csecret.txt",
            "/pkg/../../secret.txt",
            "//etc/passwd",
            "/pkg//etc/passwd",
            "/C:/secret.txt",
            "secret.txt",
            "http://example.org/",
        ] {
            assert_eq!(fixture.ask("GET", target, "").0, "404", "{target}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out() {
        let fixture = Fixture::new("links");
        let link = fixture.folder.join("www/link.txt");
        std::os::unix::fs::symlink(fixture.folder.join("secret.txt"), link).unwrap();
        assert_eq!(fixture.ask("GET", "/link.txt", "").0, "404");
    }

    #[test]
    fn parts_and_validators() {
        let fixture = Fixture::new("parts");
        let file = "/pkg/steering_playground.js";
        let (_, head, _) = fixture.ask("GET", file, "");
        let etag = head
            .lines()
            .find_map(|line| line.strip_prefix("ETag: "))
            .unwrap();

        let (status, head, body) = fixture.ask("GET", file, "Range: bytes=2-4\r\n");
        assert_eq!((status.as_str(), body.as_str()), ("206", "234"));
        assert!(head.contains("Content-Range: bytes 2-4/10\r\n"), "{head}");
        assert!(head.contains("Content-Length: 3\r\n"), "{head}");

        let (status, head, _) = fixture.ask("GET", file, "Range: bytes=10-\r\n");
        assert_eq!(status, "416");
        assert!(head.contains("Content-Range: bytes */10\r\n"), "{head}");

        let fresh = format!("Range: bytes=9-\r\nIf-Range: {etag}\r\n");
        assert_eq!(fixture.ask("GET", file, &fresh).2, "9");
        let stale = "Range: bytes=9-\r\nIf-Range: \"old\"\r\n";
        assert_eq!(fixture.ask("GET", file, stale).0, "200");

        let known = format!("If-None-Match: \"old\", W/{etag}\r\n");
        let (status, _, body) = fixture.ask("GET", file, &known);
        assert_eq!((status.as_str(), body.as_str()), ("304", ""));
    }

    /// The value of a header, if it is there.
    fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn what_compresses_is_coded_as_the_request_accepts() {
        let fixture = Fixture::new("coded");
        let text = "a word or two, ".repeat(100);
        fs::write(fixture.folder.join("www/a.js"), &text).unwrap();
        fs::write(fixture.folder.join("www/a.gguf"), &text).unwrap();

        let mut tags = Vec::new();
        for (accept, token) in [("gzip, br", "br"), ("gzip", "gzip")] {
            let headers = format!("Accept-Encoding: {accept}\r\n");
            let (head, body) = fixture.ask_bytes("GET", "/a.js", &headers);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(value(&head, "Content-Encoding"), Some(token));
            assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));
            assert_eq!(
                value(&head, "Content-Type"),
                Some("text/javascript; charset=utf-8")
            );
            assert_eq!(
                value(&head, "Content-Length"),
                Some(body.len().to_string().as_str())
            );
            assert_eq!(value(&head, "Accept-Ranges"), None);
            assert!(body.len() < 100);

            let (of_head, nothing) = fixture.ask_bytes("HEAD", "/a.js", &headers);
            assert_eq!((of_head, nothing.len()), (head.clone(), 0));

            let etag = value(&head, "ETag").unwrap();
            let known = format!("{headers}If-None-Match: {etag}\r\n");
            let (head, body) = fixture.ask_bytes("GET", "/a.js", &known);
            assert!(
                head.starts_with("HTTP/1.1 304") && body.is_empty(),
                "{head}"
            );
            assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));
            // What is known in one coding is not known in another.
            assert_eq!(
                fixture
                    .ask("GET", "/a.js", &format!("If-None-Match: {etag}\r\n"))
                    .0,
                "200"
            );
            tags.push(etag.to_owned());
        }
        let (_, head, body) = fixture.ask("GET", "/a.js", "");
        assert_eq!(
            (value(&head, "Content-Encoding"), body.len()),
            (None, text.len())
        );
        tags.push(value(&head, "ETag").unwrap().to_owned());
        tags.dedup();
        assert_eq!(tags.len(), 3, "{tags:?}");

        let (status, head, body) = fixture.ask(
            "GET",
            "/a.js",
            "Accept-Encoding: br\r\nRange: bytes=2-5\r\n",
        );
        assert_eq!((status.as_str(), body.as_str()), ("206", "word"));
        assert_eq!(value(&head, "Content-Encoding"), None);
        assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));

        let (_, head, _) = fixture.ask("GET", "/a.gguf", "Accept-Encoding: br\r\n");
        assert_eq!(
            (value(&head, "Content-Encoding"), value(&head, "Vary")),
            (None, None)
        );
        let (status, _, _) = fixture.ask("GET", "/a.gguf", "Accept-Encoding: br, identity;q=0\r\n");
        assert_eq!(status, "406");

        // Another content, as another time tells, is coded again.
        fs::write(fixture.folder.join("www/a.js"), "b".repeat(2000)).unwrap();
        let (_, body) = fixture.ask_bytes("GET", "/a.js", "Accept-Encoding: br\r\n");
        assert_eq!(
            body,
            Coding::Brotli.compress("b".repeat(2000).as_bytes(), Effort::Quick)
        );
        assert_eq!(fixture.site.coded.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_is_coded_already_is_taken_unless_it_is_old() {
        let fixture = Fixture::new("beside");
        let file = fixture.folder.join("www/a.bin");
        fs::write(&file, "plain").unwrap();
        fs::write(fixture.folder.join("www/a.bin.gz"), "gz").unwrap();
        let accept = "Accept-Encoding: br, gzip\r\n";
        let (_, head, body) = fixture.ask("GET", "/a.bin", accept);
        assert_eq!(
            (value(&head, "Content-Encoding"), body.as_str()),
            (Some("gzip"), "gz")
        );
        assert_eq!(
            value(&head, "Content-Type"),
            Some("application/octet-stream")
        );
        assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));

        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        let (_, head, body) = fixture.ask("GET", "/a.bin", accept);
        assert_eq!(
            (value(&head, "Content-Encoding"), body.as_str()),
            (None, "plain")
        );
    }

    #[test]
    fn what_has_its_hash_in_its_name_is_kept_for_ever() {
        let fixture = Fixture::new("hashed");
        fs::create_dir_all(fixture.folder.join("www/a.0123456789")).unwrap();
        for name in ["a.0123456789.js", "a.0123456789/b.json"] {
            fs::write(fixture.folder.join("www").join(name), "").unwrap();
            let (_, head, _) = fixture.ask("GET", &format!("/{name}?q"), "");
            assert_eq!(
                value(&head, "Cache-Control"),
                Some("public, max-age=31536000, immutable")
            );
        }
        let (_, head, _) = fixture.ask("GET", "/?.0123456789.js", "");
        assert_eq!(value(&head, "Cache-Control"), Some("no-cache"));
    }

    #[test]
    fn heads_and_methods() {
        let fixture = Fixture::new("methods");
        let (status, head, body) = fixture.ask("HEAD", "/", "");
        assert_eq!((status.as_str(), body.as_str()), ("200", ""));
        assert!(head.contains("Content-Length: 7\r\n"), "{head}");
        assert!(
            head.contains("Content-Security-Policy: default-src 'self';"),
            "{head}"
        );
        assert!(
            head.contains("X-Content-Type-Options: nosniff\r\n"),
            "{head}"
        );
        assert!(head.contains("Connection: keep-alive\r\n"), "{head}");

        let (status, head, _) = fixture.ask("POST", "/", "Content-Length: 3\r\n");
        assert_eq!(status, "405");
        assert!(head.contains("Allow: GET, HEAD\r\n"), "{head}");
        assert!(head.contains("Connection: close\r\n"), "{head}");
    }
}
