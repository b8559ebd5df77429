//! The bytes of a capture file: plain or gzip, by the magic and never by the name, behind one bounded window.
//!
//! [`Input`] knows nothing of records. It holds at most [`WINDOW_MAX`] bytes, whatever the file says of itself, and grows
//! its window only by bytes that came.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::bufread::GzDecoder;

/// The largest record or block that is read; a larger one is damage, not an allocation.
pub(super) const RECORD_MAX: usize = 16 << 20;
/// The most that a window grows to: one record of [`RECORD_MAX`] with its header.
pub(super) const WINDOW_MAX: usize = RECORD_MAX + 64;
/// What a window reads at a time; it starts smaller, since many a file is.
const WINDOW: usize = 256 << 10;
const WINDOW_FIRST: usize = 8 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];

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
            // by name, since only a file's own metadata can be asked for without unsafe code
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

    /// Takes any bytes.
    pub(super) fn from_read(source: Box<dyn Read + Send>) -> io::Result<Input> {
        let mut counted = Counted { source, read: 0, ahead: [0; 2], ahead_from: 0, ahead_to: 0 };
        counted.look_ahead()?;
        let bytes = if counted.ahead[..counted.ahead_to] == GZIP {
            Bytes::Gzip(Gzip { state: GzipState::Member(Box::new(member(counted))), cut: false, trailing: false })
        } else {
            Bytes::Plain(counted)
        };
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

    /// Makes `n` bytes available, at most [`WINDOW_MAX`]; false where the input ends before.
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
                // doubled by what came, never sized by what a header claims
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

    /// Lets go of the first `n` available bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.consumed += n as u64;
    }

    /// How many (decompressed) bytes were let go of: where the next record begins.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// How many bytes of the file, as it lies on disk, were read.
    pub(super) fn position(&self) -> u64 {
        match &self.bytes {
            Bytes::Plain(counted) => counted.read,
            Bytes::Gzip(gzip) => gzip.read(),
        }
    }

    /// The size of the file as it lies on disk; `None` for a pipe.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Which file this is; `None` for a pipe.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// What the file is packed with.
    pub(super) fn compression(&self) -> Option<&'static str> {
        match &self.bytes {
            Bytes::Plain(_) => None,
            Bytes::Gzip(_) => Some("gzip"),
        }
    }

    /// Whether a gzip member broke off.
    pub(super) fn cut(&self) -> bool {
        matches!(&self.bytes, Bytes::Gzip(gzip) if gzip.cut)
    }

    /// Whether bytes that are no gzip member stand behind the last one.
    pub(super) fn trailing(&self) -> bool {
        matches!(&self.bytes, Bytes::Gzip(gzip) if gzip.trailing)
    }

    /// How much memory the window takes.
    #[cfg(test)]
    pub(super) fn window(&self) -> usize {
        self.window.capacity()
    }
}

enum Bytes {
    Plain(Counted),
    Gzip(Gzip),
}

impl Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Bytes::Plain(counted) => counted.read(into),
            Bytes::Gzip(gzip) => gzip.read_into(into),
        }
    }
}

/// Counts what is read, and hands out first what was looked at to tell gzip.
struct Counted {
    source: Box<dyn Read + Send>,
    read: u64,
    ahead: [u8; 2],
    ahead_from: usize,
    ahead_to: usize,
}

impl Counted {
    fn look_ahead(&mut self) -> io::Result<()> {
        while self.ahead_to < self.ahead.len() {
            match self.source.read(&mut self.ahead[self.ahead_to..]) {
                Ok(0) => break,
                Ok(read) => self.ahead_to += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.read = self.ahead_to as u64;
        Ok(())
    }
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ahead = &self.ahead[self.ahead_from..self.ahead_to];
        if !ahead.is_empty() {
            let n = ahead.len().min(into.len());
            into[..n].copy_from_slice(&ahead[..n]);
            self.ahead_from += n;
            return Ok(n);
        }
        let n = self.source.read(into)?;
        self.read += n as u64;
        Ok(n)
    }
}

/// Gzip members one behind the other, as `cat a.gz b.gz` and block compressors write them.
struct Gzip {
    state: GzipState,
    cut: bool,
    trailing: bool,
}

enum GzipState {
    Member(Box<GzDecoder<BufReader<Counted>>>),
    Ended(u64),
}

fn member(counted: Counted) -> GzDecoder<BufReader<Counted>> {
    GzDecoder::new(BufReader::with_capacity(64 << 10, counted))
}

impl Gzip {
    fn read(&self) -> u64 {
        match &self.state {
            GzipState::Member(decoder) => decoder.get_ref().get_ref().read,
            GzipState::Ended(read) => *read,
        }
    }

    fn read_into(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let GzipState::Member(decoder) = &mut self.state else { return Ok(0) };
            match decoder.read(into) {
                Ok(0) if into.is_empty() => return Ok(0),
                Ok(0) => self.next_member()?,
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    self.cut = true;
                    self.state = GzipState::Ended(self.read());
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn next_member(&mut self) -> io::Result<()> {
        let read = self.read();
        let GzipState::Member(decoder) = std::mem::replace(&mut self.state, GzipState::Ended(read)) else {
            return Ok(());
        };
        let mut behind = decoder.into_inner();
        match behind.fill_buf()?.first() {
            None => self.state = GzipState::Ended(behind.get_ref().read),
            Some(&first) if first == GZIP[0] => self.state = GzipState::Member(Box::new(GzDecoder::new(behind))),
            // padding of a tape or a download: gzip itself warns and goes on
            Some(_) => self.trailing = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn all(bytes: Vec<u8>) -> (Vec<u8>, bool, bool) {
        let mut input = Input::from_read(Box::new(io::Cursor::new(bytes))).unwrap();
        let mut out = Vec::new();
        while input.need(1).unwrap() {
            out.extend_from_slice(input.data());
            input.consume(usize::MAX);
        }
        (out, input.cut(), input.trailing())
    }

    #[test]
    fn members_are_read_one_behind_the_other_and_padding_is_told() {
        let mut two = gzip(b"one ");
        two.extend(gzip(b""));
        two.extend(gzip(b"two"));
        assert_eq!(all(two.clone()), (b"one two".to_vec(), false, false));
        two.extend([0; 512]);
        assert_eq!(all(two), (b"one two".to_vec(), false, true));
        assert_eq!(all(b"\x1f".to_vec()), (b"\x1f".to_vec(), false, false));
        assert_eq!(all(Vec::new()), (Vec::new(), false, false));
    }

    #[test]
    fn a_cut_gzip_gives_what_it_holds() {
        let plain: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let packed = gzip(&plain);
        let mut most = 0;
        for keep in (3..packed.len()).step_by(977) {
            let (got, cut, _) = all(packed[..keep].to_vec());
            assert!(cut && plain.starts_with(&got), "{keep}");
            assert!(got.len() >= most, "{keep}");
            most = got.len();
        }
        assert!(most > plain.len() * 9 / 10, "{most} of {}", plain.len());
    }

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
