//! Byte sources that need nothing but Rust's standard library.

use crate::error::{Error, Result};
use crate::weights::ByteSource;

/// A file that is wholly in memory.
#[derive(Debug, Clone)]
pub struct Bytes {
    /// The file's name, for messages.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl ByteSource for Bytes {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        check_range(self, offset, bytes)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(bytes);
        Ok(self
            .bytes
            .get(range)
            .map(<[u8]>::to_vec)
            .unwrap_or_default())
    }
}

/// Refuses a read that goes beyond the end, before anything is allocated for it.
fn check_range(source: &impl ByteSource, offset: u64, bytes: usize) -> Result<()> {
    let needed_bytes = offset.saturating_add(bytes as u64);
    let found_bytes = source.len_bytes();
    if needed_bytes > found_bytes {
        return Err(Error::Truncated {
            file: source.name().into(),
            what: format!("a read of {bytes} bytes at byte {offset}"),
            needed_bytes,
            found_bytes,
        });
    }
    Ok(())
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::NativeFile;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{ByteSource, Error, Result, check_range};
    use std::fs::File;
    use std::path::Path;

    /// A file on disk, read in place.
    #[derive(Debug)]
    pub struct NativeFile {
        name: String,
        file: File,
        len_bytes: u64,
    }

    impl NativeFile {
        /// Opens a file for reading.
        ///
        /// # Errors
        /// [`Error::Io`] with the path when it cannot be opened or is not a plain file.
        pub fn open(path: &Path) -> Result<Self> {
            let io = |why: String| Error::Io {
                file: path.display().to_string(),
                why,
            };
            let file = File::open(path).map_err(|error| io(error.to_string()))?;
            let metadata = file.metadata().map_err(|error| io(error.to_string()))?;
            if !metadata.is_file() {
                return Err(io("it is not a plain file".into()));
            }
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned();
            Ok(Self {
                name,
                file,
                len_bytes: metadata.len(),
            })
        }
    }

    impl ByteSource for NativeFile {
        fn name(&self) -> &str {
            &self.name
        }

        fn len_bytes(&self) -> u64 {
            self.len_bytes
        }

        async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
            check_range(self, offset, bytes)?;
            let mut buffer = vec![0; bytes];
            read_exact_at(&self.file, &mut buffer, offset).map_err(|error| Error::Io {
                file: self.name.clone(),
                why: error.to_string(),
            })?;
            Ok(buffer)
        }
    }

    #[cfg(unix)]
    fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
    }

    // Elsewhere the file's one cursor is moved: do not share a `NativeFile` between threads there.
    #[cfg(not(unix))]
    fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
