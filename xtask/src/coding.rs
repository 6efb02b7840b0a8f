//! Content codings: what a request accepts, and how bytes are coded.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A way to make a file smaller for its transfer, the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    Brotli,
    Gzip,
}

/// How long compressing may take.
#[derive(Clone, Copy, PartialEq)]
pub enum Effort {
    /// While a browser waits: a second for the module's 20 MB.
    Quick,
    /// For a file that is downloaded more often than written.
    Best,
}

impl Coding {
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// Its name in headers.
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What servers expect after the name of a file that is coded already.
    fn extension(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    pub fn compress(self, bytes: &[u8], effort: Effort) -> Vec<u8> {
        const MEMORY: &str = "writing to memory does not fail";
        let best = effort == Effort::Best;
        match self {
            Self::Brotli => {
                let parameters = BrotliEncoderParams {
                    quality: if best { 11 } else { 4 },
                    // The largest that every browser reads.
                    lgwin: if best { 24 } else { 22 },
                    size_hint: bytes.len(),
                    ..BrotliEncoderParams::default()
                };
                let mut coded = Vec::new();
                let mut reader = bytes;
                brotli::BrotliCompress(&mut reader, &mut coded, &parameters).expect(MEMORY);
                coded
            }
            Self::Gzip => {
                let level = if best {
                    Compression::best()
                } else {
                    Compression::fast()
                };
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).expect(MEMORY);
                encoder.finish().expect(MEMORY)
            }
        }
    }

    /// The file beside `path` that holds the same in this coding, whether it is there or not.
    pub fn beside(self, path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(self.extension());
        name.into()
    }

    /// That file, if it is there and not older than `path`.
    pub fn fresh(self, path: &Path, metadata: &Metadata) -> Option<PathBuf> {
        let beside = self.beside(path);
        let made = fs::metadata(&beside).ok()?.modified().ok()?;
        (made >= metadata.modified().ok()?).then_some(beside)
    }
}

/// Writes `bytes` beside `path` in each coding that makes them smaller; `ready` may hold the path of
/// one that was made before.
pub fn write_beside(
    path: &Path,
    bytes: &[u8],
    ready: impl Fn(Coding) -> Option<PathBuf>,
) -> io::Result<()> {
    for coding in Coding::ALL {
        let coded = match ready(coding) {
            Some(ready) => fs::read(ready)?,
            None => coding.compress(bytes, Effort::Best),
        };
        if coded.len() < bytes.len() {
            fs::write(coding.beside(path), coded)?;
        }
    }
    Ok(())
}

/// What an `Accept-Encoding` header accepts, the most wanted first; `None` stands for the bytes as
/// they are, which are accepted unless they are refused.
pub fn accepted(header: Option<&str>) -> Vec<Option<Coding>> {
    let Some(header) = header else {
        return vec![None];
    };
    let asked: Vec<(String, f32)> = header
        .split(',')
        .map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = match parameters.trim().split_once('=') {
                Some((q, value)) if q.trim().eq_ignore_ascii_case("q") => {
                    value.trim().parse().unwrap_or(0.0)
                }
                _ => 1.0,
            };
            (name.trim().to_ascii_lowercase(), weight)
        })
        .collect();
    let weight = |name: &str| {
        let find = |name: &str| asked.iter().find(|(asked, _)| asked == name);
        find(name).or_else(|| find("*")).map(|(_, weight)| *weight)
    };
    let mut accepted: Vec<(Option<Coding>, f32)> = Coding::ALL
        .iter()
        .map(|coding| (Some(*coding), weight(coding.token()).unwrap_or(0.0)))
        // Less wanted than anything that is asked for.
        .chain([(None, weight("identity").unwrap_or(f32::MIN_POSITIVE))])
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    // Stable: of those that are wanted as much the smaller comes first.
    accepted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    accepted.into_iter().map(|(coding, _)| coding).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn accept_encoding() {
        let (br, gzip, plain) = (Some(Coding::Brotli), Some(Coding::Gzip), None);
        for (header, expected) in [
            ("", vec![plain]),
            ("gzip, deflate, br, zstd", vec![br, gzip, plain]),
            ("gzip", vec![gzip, plain]),
            ("GZIP;q=0.5,br;Q=0.4", vec![gzip, br, plain]),
            ("br ; q=0, gzip ; q=1.000", vec![gzip, plain]),
            ("br;q=0.5, identity", vec![plain, br]),
            ("*", vec![br, gzip, plain]),
            ("gzip, *;q=0", vec![gzip]),
            ("br, identity;q=0", vec![br]),
            ("identity;q=0", vec![]),
            ("*;q=0", vec![]),
            ("*;q=0.1, gzip", vec![gzip, br, plain]),
            ("br;q=much, gzip;q=NaN", vec![plain]),
            ("deflate, zstd", vec![plain]),
        ] {
            assert_eq!(accepted(Some(header)), expected, "{header}");
        }
        assert_eq!(accepted(None), [plain]);
    }

    #[test]
    fn what_is_coded_comes_back() {
        let text = "the same words, ".repeat(100).into_bytes();
        for effort in [Effort::Quick, Effort::Best] {
            let coded = Coding::Brotli.compress(&text, effort);
            assert!(coded.len() < 100);
            let mut back = Vec::new();
            brotli::BrotliDecompress(&mut coded.as_slice(), &mut back).unwrap();
            assert_eq!(back, text);

            let coded = Coding::Gzip.compress(&text, effort);
            assert!(coded.len() < 100);
            let mut back = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(coded.as_slice());
            reader.read_to_end(&mut back).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn only_what_is_smaller_is_written_beside() {
        let folder = std::env::temp_dir().join(format!("xtask-coding-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (text, noise) = (folder.join("a.txt"), folder.join("b.txt"));
        fs::write(&text, [b'a'; 1000]).unwrap();
        write_beside(&text, &[b'a'; 1000], |_| None).unwrap();
        write_beside(&noise, b"x", |_| None).unwrap();
        let metadata = fs::metadata(&text).unwrap();
        for (coding, name) in [(Coding::Brotli, "a.txt.br"), (Coding::Gzip, "a.txt.gz")] {
            assert_eq!(coding.fresh(&text, &metadata), Some(folder.join(name)));
            assert!(!coding.beside(&noise).exists());
        }
        // What was made before is taken as it is.
        fs::write(folder.join("ready"), "r").unwrap();
        write_beside(&text, &[b'a'; 1000], |_| Some(folder.join("ready"))).unwrap();
        assert_eq!(fs::read(folder.join("a.txt.br")).unwrap(), b"r");
        fs::remove_dir_all(folder).unwrap();
    }
}
