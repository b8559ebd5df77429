//! Compressed bytes, decompressed: gzip members or zstd frames, one after the other, recognised by their magic numbers.
//!
//! ```text
//! file -> Counted, 4 bytes looked at -> plain
//!                                    -> Gzip: member, member, ... \ cut, or something else behind
//!                                    -> Zstd: frame, frame, ...   /
//! ```
//!
//! A stream that breaks off yields what it holds ([`Bytes::cut`]); with zstd, its whole blocks. What follows the last member or
//! frame and is not one is ignored ([`Bytes::trailing`]). Memory is bounded, whatever a header says: gzip's window is 32 KiB, and
//! a zstd frame that asks for more than [`ZSTD_WINDOW_LOG`] is refused.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// Two to this power is the most that a zstd frame's window may take: 128 MiB, which zstd itself allows by default.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How many bytes of a compressed file are read at once.
const READ: usize = 128 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How many of the first bytes say what a file is.
const MAGIC: usize = 4;

/// A file's bytes, decompressed if they have to be.
pub(super) enum Bytes {
    Plain(Counted),
    Gzip(Gzip),
    Zstd(Box<Zstd>),
}

impl Bytes {
    /// Looks at the first bytes only.
    pub(super) fn new(source: Box<dyn Read + Send>) -> io::Result<Bytes> {
        let mut counted = Counted { source, read: 0, ahead: [0; MAGIC], ahead_from: 0, ahead_to: 0 };
        counted.ahead_to = read_whole(&mut counted.source, &mut counted.ahead)?;
        counted.read = counted.ahead_to as u64;
        let magic = &counted.ahead[..counted.ahead_to];
        Ok(if magic.starts_with(&GZIP) {
            let member = GzDecoder::new(BufReader::with_capacity(READ, counted));
            Bytes::Gzip(Gzip { state: GzipState::Member(Box::new(member)), cut: false, trailing: false })
        } else if is_zstd(magic) {
            Bytes::Zstd(Box::new(Zstd::new(counted)?))
        } else {
            Bytes::Plain(counted)
        })
    }

    /// The next bytes; none at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Bytes::Plain(counted) => counted.read(into),
            Bytes::Gzip(gzip) => gzip.read_into(into),
            Bytes::Zstd(zstd) => zstd.read_into(into),
        }
    }

    /// How many bytes of the file, as it lies on disk, were read.
    pub(super) fn position(&self) -> u64 {
        match self {
            Bytes::Plain(counted) => counted.read,
            Bytes::Gzip(gzip) => gzip.position(),
            Bytes::Zstd(zstd) => zstd.file.get_ref().read,
        }
    }

    /// Whether a gzip member or a zstd frame broke off.
    pub(super) fn cut(&self) -> bool {
        match self {
            Bytes::Plain(_) => false,
            Bytes::Gzip(gzip) => gzip.cut,
            Bytes::Zstd(zstd) => zstd.cut,
        }
    }

    /// Whether something else follows the last gzip member or zstd frame.
    pub(super) fn trailing(&self) -> bool {
        match self {
            Bytes::Plain(_) => false,
            Bytes::Gzip(gzip) => gzip.trailing,
            Bytes::Zstd(zstd) => zstd.trailing,
        }
    }
}

/// Fills `into` as far as the input goes.
fn read_whole(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Counts what is read, and first hands out the bytes that were looked at.
pub(super) struct Counted {
    source: Box<dyn Read + Send>,
    read: u64,
    ahead: [u8; MAGIC],
    ahead_from: usize,
    ahead_to: usize,
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

/// Gzip members one after the other, as `cat a.gz b.gz` and block compressors write them.
pub(super) struct Gzip {
    state: GzipState,
    cut: bool,
    trailing: bool,
}

enum GzipState {
    Member(Box<GzDecoder<BufReader<Counted>>>),
    Ended(u64),
}

impl Gzip {
    fn position(&self) -> u64 {
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
                    self.state = GzipState::Ended(self.position());
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn next_member(&mut self) -> io::Result<()> {
        let read = self.position();
        let GzipState::Member(decoder) = std::mem::replace(&mut self.state, GzipState::Ended(read)) else {
            return Ok(());
        };
        let mut behind = decoder.into_inner();
        match behind.fill_buf()?.first() {
            None => self.state = GzipState::Ended(behind.get_ref().read),
            Some(&first) if first == GZIP[0] => self.state = GzipState::Member(Box::new(GzDecoder::new(behind))),
            // padding from a tape or a download: gzip itself warns and goes on
            Some(_) => self.trailing = true,
        }
        Ok(())
    }
}

/// Zstd frames one after the other, as `cat a.zst b.zst` and parallel compressors write them; skippable ones are skipped.
pub(super) struct Zstd {
    file: BufReader<Counted>,
    decoder: Decoder<'static>,
    state: ZstdState,
    cut: bool,
    trailing: bool,
}

enum ZstdState {
    /// Before a frame, or the end.
    Between,
    /// Within a frame; the decoder has not been given this part of its magic number yet.
    Frame {
        magic: [u8; MAGIC],
        given: usize,
    },
    Ended,
}

/// Whether a zstd frame begins like this, or one that decoders skip.
fn is_zstd(magic: &[u8]) -> bool {
    magic == ZSTD || matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

impl Zstd {
    fn new(counted: Counted) -> io::Result<Zstd> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        let file = BufReader::with_capacity(READ, counted);
        Ok(Zstd { file, decoder, state: ZstdState::Between, cut: false, trailing: false })
    }

    fn read_into(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                ZstdState::Ended => return Ok(0),
                ZstdState::Between => self.next_frame()?,
                ZstdState::Frame { magic, given } => {
                    let rest = &magic[*given..];
                    let compressed = if rest.is_empty() { self.file.fill_buf()? } else { rest };
                    let exhausted = compressed.is_empty();
                    let (mut from, mut out) = (InBuffer::around(compressed), OutBuffer::around(into));
                    let left = self.decoder.run(&mut from, &mut out).map_err(explain)?;
                    let (taken, written) = (from.pos(), out.pos());
                    if rest.is_empty() {
                        self.file.consume(taken);
                    } else {
                        *given += taken;
                    }
                    if left == 0 {
                        self.state = ZstdState::Between;
                    } else if exhausted && written == 0 {
                        self.cut = true;
                        self.state = ZstdState::Ended;
                    }
                    if written > 0 || into.is_empty() {
                        return Ok(written);
                    }
                }
            }
        }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let mut magic = [0; MAGIC];
        let read = read_whole(&mut self.file, &mut magic)?;
        self.state = ZstdState::Ended;
        if is_zstd(&magic[..read]) {
            self.decoder.reinit()?;
            self.state = ZstdState::Frame { magic, given: 0 };
        } else if read > 0 {
            // a magic number that is cut off is a frame that is cut off
            self.cut = read < MAGIC && ZSTD.starts_with(&magic[..read]);
            self.trailing = !self.cut;
        }
        Ok(())
    }
}

/// What the decoder says of a frame's header that asks for more memory than it may have.
const TOO_MUCH: &str = "Frame requires too much memory for decoding";

/// What is wrong with zstd data, and what to do.
fn explain(error: io::Error) -> io::Error {
    if error.to_string() == TOO_MUCH {
        let most = (1 << ZSTD_WINDOW_LOG) >> 20;
        return io::Error::other(format!(
            "its zstd window is larger than {most} MiB, the most that is granted: pipe it in as `-` (`zstd -dc --long=31`)"
        ));
    }
    io::Error::other(format!("its zstd data is corrupt: {error}"))
}

#[cfg(test)]
mod tests;
