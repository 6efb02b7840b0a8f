//! Answers: their heads, and the bytes of what is sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::range::Part;

/// What is sent of a file.
pub enum Content {
    File(File),
    Memory(Arc<[u8]>),
}

/// An answer that is being written.
pub struct Reply<'a, W> {
    stream: &'a mut W,
    headers: String,
}

impl<'a, W: Write> Reply<'a, W> {
    pub fn new(stream: &'a mut W, keep: bool, policy: Option<&str>) -> Self {
        let mut reply = Self {
            stream,
            headers: String::new(),
        };
        if let Some(policy) = policy {
            reply.header("Content-Security-Policy", policy);
        }
        reply
            .header("X-Content-Type-Options", "nosniff")
            .header("Connection", if keep { "keep-alive" } else { "close" });
        reply
    }

    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub fn empty(&mut self, status: u16, reason: &str) -> io::Result<()> {
        write!(
            self.stream,
            "HTTP/1.1 {status} {reason}\r\n{}\r\n",
            self.headers
        )
    }

    pub fn text(&mut self, status: u16, reason: &str, send_body: bool) -> io::Result<()> {
        self.header("Content-Type", "text/plain; charset=utf-8")
            .header("Content-Length", &reason.len().to_string())
            .empty(status, reason)?;
        if send_body {
            self.stream.write_all(reason.as_bytes())?;
        }
        Ok(())
    }

    pub fn content(
        &mut self,
        status: u16,
        reason: &str,
        path: &Path,
        content: Content,
        part: &Part,
        send_body: bool,
    ) -> io::Result<()> {
        self.header("Content-Type", media_type(path))
            .header("Content-Length", &part.length.to_string())
            .empty(status, reason)?;
        if !send_body {
            return Ok(());
        }
        match content {
            Content::File(mut file) => {
                file.seek(SeekFrom::Start(part.start))?;
                io::copy(&mut file.take(part.length), self.stream).map(drop)
            }
            // Coded, and so never sent in parts.
            Content::Memory(bytes) => self.stream.write_all(&bytes),
        }
    }
}

impl Content {
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }
}

/// The media type that a file's extension stands for.
pub fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("md" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a file is worth coding while somebody waits. Adapters are not: numbers shrink by a tenth.
pub fn compressible(path: &Path) -> bool {
    let kind = media_type(path);
    kind.starts_with("text/")
        || [
            "application/json",
            "application/manifest+json",
            "application/wasm",
            "image/svg+xml",
        ]
        .contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        assert_eq!(media_type(Path::new("a/b.wasm")), "application/wasm");
        assert_eq!(
            media_type(Path::new("b.mjs")),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(media_type(Path::new("m.gguf")), "application/octet-stream");
        assert_eq!(media_type(Path::new("README")), "application/octet-stream");
    }
}
