//! The bytes of a capture file, decompressed if they have to be, through one bounded window.
//!
//! [`Input`] knows nothing of records. It holds at most [`WINDOW_MAX`] bytes, whatever the file claims, and grows its window only
//! by bytes that were read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::compressed::Bytes;

/// The largest record or block that is read; a larger one is damage, not an allocation.
pub(super) const RECORD_MAX: usize = 16 << 20;
/// The most that a window grows to: one record of [`RECORD_MAX`] with its header.
pub(super) const WINDOW_MAX: usize = RECORD_MAX + 64;
/// How much a window reads at a time. It starts smaller, since many files are small.
const WINDOW: usize = 256 << 10;
const WINDOW_FIRST: usize = 8 << 10;

/// A file's device and inode: two paths with the same are one file.
pub(super) type Identity = (u64, u64);

/// A window over the (decompressed) bytes of a capture.
pub(super) struct Input {
    bytes: Bytes,
    window: Vec<u8>,
    start: usize,
    end: usize,
    exhausted: bool,
    consumed: u64,
    size: Option<u64>,
    identity: Option<Identity>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> io::Result<Input> {
        let (source, metadata): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
            // by name: without unsafe code, only a file's own metadata is available
            (Box::new(io::stdin()), fs::metadata("/dev/stdin").ok())
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            }
            (Box::new(file), Some(metadata))
        };
        let regular = metadata.filter(fs::Metadata::is_file);
        let mut input = Input::from_read(source)?;
        input.size = regular.as_ref().map(fs::Metadata::len);
        input.identity = regular.map(|m| (m.dev(), m.ino()));
        Ok(input)
    }

    /// Reads from any reader.
    pub(super) fn from_read(source: Box<dyn Read + Send>) -> io::Result<Input> {
        let bytes = Bytes::new(source)?;
        Ok(Input {
            bytes,
            window: Vec::new(),
            start: 0,
            end: 0,
            exhausted: false,
            consumed: 0,
            size: None,
            identity: None,
        })
    }

    /// Makes `n` bytes available, at most [`WINDOW_MAX`]; false if the input ends before that.
    #[inline]
    pub(super) fn need(&mut self, n: usize) -> io::Result<bool> {
        if self.end - self.start >= n {
            return Ok(true);
        }
        self.refill(n)
    }

    #[cold]
    fn refill(&mut self, n: usize) -> io::Result<bool> {
        debug_assert!(n <= WINDOW_MAX);
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.window.len() < WINDOW {
            self.window.resize((self.window.len() * 2).clamp(WINDOW_FIRST, WINDOW), 0);
        }
        while self.end < n && !self.exhausted {
            if self.end == self.window.len() {
                // doubled as data comes, never sized by what a header claims
                let grown = (self.window.len() * 2).min(WINDOW_MAX);
                self.window.resize(grown, 0);
            }
            match self.bytes.read(&mut self.window[self.end..]) {
                Ok(0) => self.exhausted = true,
                Ok(read) => self.end += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.exhausted = true;
                    return Err(e);
                }
            }
        }
        Ok(self.end >= n)
    }

    /// The bytes that are available.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Releases the first `n` available bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.consumed += n as u64;
    }

    /// How many (decompressed) bytes were released: where the next record begins.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// How many bytes of the file, as it lies on disk, were read.
    pub(super) fn position(&self) -> u64 {
        self.bytes.position()
    }

    /// The size of the file as it lies on disk; `None` for a pipe.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Which file this is; `None` for a pipe.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// How the file is compressed.
    pub(super) fn compression(&self) -> Option<&'static str> {
        match &self.bytes {
            Bytes::Plain(_) => None,
            Bytes::Gzip(_) => Some("gzip"),
            Bytes::Zstd(_) => Some("zstd"),
        }
    }

    /// Whether the compressed data broke off.
    pub(super) fn cut(&self) -> bool {
        self.bytes.cut()
    }

    /// Whether something else follows the compressed data.
    pub(super) fn trailing(&self) -> bool {
        self.bytes.trailing()
    }

    /// How much memory the window takes.
    #[cfg(test)]
    pub(super) fn window(&self) -> usize {
        self.window.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_by_what_came() {
        let mut input = Input::from_read(Box::new(io::Cursor::new(vec![7; 100]))).unwrap();
        assert!(!input.need(RECORD_MAX).unwrap());
        assert_eq!(input.data().len(), 100);
        assert!(input.window() <= WINDOW);
        let mut input = Input::from_read(Box::new(io::repeat(7))).unwrap();
        assert!(input.need(WINDOW_MAX).unwrap());
        assert!(input.window() <= WINDOW_MAX * 2);
    }
}
