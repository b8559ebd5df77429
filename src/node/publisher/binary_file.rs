//! Nasdaq's BinaryFILE as a source of messages.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::messages::{MESSAGE_LEN_MAX, MessageSource, MessageWarning, Timing};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 1 << 16;

/// How the messages of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stepping {
    /// Nothing was read yet.
    Unknown,
    ByLength,
    ByType,
    Ended,
}

/// The messages of Nasdaq's BinaryFILE: one after the other, each preceded by its length in 2 bytes, big-endian. The file is plain
/// or gzip: its first bytes say which.
///
/// * A length of zero marks the end of the session, if the file has lengths at all.
/// * If the first length is zero and the file goes on, all its lengths are zero, as in Nasdaq's own ITCH 5.0 test file. Then the
///   message types say how long the messages are, by ITCH 5.0.
/// * A file that is cut off gives all its whole messages, then a [`MessageWarning::Truncated`].
///
/// Source: Nasdaq BinaryFILE 1.00; Nasdaq TotalView-ITCH 5.0.
pub struct BinaryFile<R> {
    input: R,
    stepping: Stepping,
    messages: u64,
    warning: Option<MessageWarning>,
}

impl BinaryFile<Box<dyn BufRead + Send>> {
    /// Opens a file, plain or gzip.
    ///
    /// # Errors
    /// The system's error.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
        let gzip = file.fill_buf()?.starts_with(&GZIP_MAGIC);
        Ok(BinaryFile::new(if gzip {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        }))
    }
}

impl<R: BufRead> BinaryFile<R> {
    /// Reads from what is not compressed.
    pub fn new(input: R) -> BinaryFile<R> {
        BinaryFile { input, stepping: Stepping::Unknown, messages: 0, warning: None }
    }

    fn end(&mut self, warning: Option<MessageWarning>) -> io::Result<Option<Timing>> {
        self.stepping = Stepping::Ended;
        self.warning = warning;
        Ok(None)
    }

    fn cut(&mut self, bytes: usize) -> io::Result<Option<Timing>> {
        self.end(Some(MessageWarning::Truncated { messages: self.messages, bytes: bytes as u64 }))
    }

    fn invalid<T>(&self, what: String) -> io::Result<T> {
        let message = self.messages + 1;
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("message {message} of the BinaryFILE {what}")))
    }
}

impl<R: BufRead> MessageSource for BinaryFile<R> {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        message.clear();
        if self.stepping == Stepping::Ended {
            return Ok(None);
        }
        let mut prefix = [0; 2];
        match read_full(&mut self.input, &mut prefix)? {
            0 => return self.end(None),
            1 => return self.cut(1),
            _ => {}
        }
        let mut len = usize::from(u16::from_be_bytes(prefix));
        if len == 0 || self.stepping == Stepping::ByType {
            let first = match self.input.fill_buf() {
                Ok(rest) => rest.first().copied(),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return self.cut(2),
                Err(e) => return Err(e),
            };
            match (first, self.stepping) {
                (None, Stepping::ByType) => return self.cut(2),
                (None, _) => return self.end(None),
                (Some(_), Stepping::ByLength) => {
                    return self.end(Some(MessageWarning::BehindEnd { messages: self.messages }));
                }
                (Some(kind), _) if len == 0 => {
                    self.stepping = Stepping::ByType;
                    match itch_50_len(kind) {
                        Some(known) => len = known,
                        None => {
                            let kind = char::from(kind).escape_default();
                            return self
                                .invalid(format!("has no length and type '{kind}', which ITCH 5.0 does not have"));
                        }
                    }
                }
                _ => return self.invalid(format!("has length {len} in a file without lengths")),
            }
        } else {
            self.stepping = Stepping::ByLength;
        }
        if len > MESSAGE_LEN_MAX {
            return self.invalid(format!("has {len} bytes: a message may have {MESSAGE_LEN_MAX}"));
        }
        message.resize(len, 0);
        let got = read_full(&mut self.input, message)?;
        if got < len {
            message.clear();
            return self.cut(got + 2);
        }
        self.messages += 1;
        Ok(Some(Timing::Untimed))
    }

    fn warning(&mut self) -> Option<MessageWarning> {
        self.warning.take()
    }
}

/// Fills `into` as far as the input goes and returns how far. A gzip stream that is cut ends where it is cut.
fn read_full(input: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match input.read(&mut into[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// How long an ITCH 5.0 message of this type is.
pub(crate) const fn itch_50_len(kind: u8) -> Option<usize> {
    Some(match kind {
        b'S' | b'W' => 12,
        b'B' | b'D' => 19,
        b'N' | b'Y' => 20,
        b'h' => 21,
        b'X' => 23,
        b'H' => 25,
        b'L' => 26,
        b'K' => 28,
        b'E' => 31,
        b'J' | b'U' | b'V' => 35,
        b'A' | b'C' => 36,
        b'R' => 39,
        b'F' | b'Q' => 40,
        b'P' => 44,
        b'O' => 48,
        b'I' => 50,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// All messages, the warning, and the error if one ended it.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<MessageWarning>, Option<String>) {
        drain(BinaryFile::new(bytes))
    }

    fn drain<R: BufRead>(mut file: BinaryFile<R>) -> (Vec<Vec<u8>>, Option<MessageWarning>, Option<String>) {
        let (mut all, mut message) = (Vec::new(), Vec::new());
        loop {
            match file.next(&mut message) {
                Ok(Some(_)) => all.push(message.clone()),
                Ok(None) => return (all, file.warning(), None),
                Err(e) => return (all, file.warning(), Some(e.to_string())),
            }
        }
    }

    const TWO: &[u8] = &[0, 3, b'o', b'n', b'e', 0, 2, b'x', b'y'];

    #[test]
    fn messages_stand_behind_their_lengths() {
        assert_eq!(read(TWO), (vec![b"one".to_vec(), b"xy".to_vec()], None, None));
        assert_eq!(read(&[]), (vec![], None, None));
    }

    #[test]
    fn every_cut_gives_the_whole_messages_and_a_warning() {
        for cut in 1..TWO.len() {
            let (all, warning, error) = read(&TWO[..cut]);
            let whole = usize::from(cut >= 5);
            assert_eq!((all.len(), error), (whole, None), "cut at {cut}");
            let left = if whole == 1 { cut - 5 } else { cut };
            let expected = MessageWarning::Truncated { messages: whole as u64, bytes: left as u64 };
            assert_eq!(warning, (left > 0).then_some(expected), "cut at {cut}");
        }
    }

    #[test]
    fn a_zero_length_ends_a_file_with_lengths() {
        let mut ended = TWO.to_vec();
        ended.extend_from_slice(&[0, 0]);
        assert_eq!(read(&ended).1, None);
        ended.push(b'S');
        assert_eq!(read(&ended).0.len(), 2);
        assert_eq!(read(&ended).1, Some(MessageWarning::BehindEnd { messages: 2 }));
    }

    #[test]
    fn a_file_without_lengths_is_stepped_by_type() {
        let mut bytes = vec![0, 0, b'S'];
        bytes.extend_from_slice(&[1; 11]);
        bytes.extend_from_slice(&[0, 0, b'D']);
        bytes.extend_from_slice(&[2; 18]);
        let (all, warning, error) = read(&bytes);
        assert_eq!((all.iter().map(Vec::len).collect::<Vec<_>>(), warning, error), (vec![12, 19], None, None));
        let (all, warning, _) = read(&bytes[..bytes.len() - 1]);
        assert_eq!((all.len(), warning), (1, Some(MessageWarning::Truncated { messages: 1, bytes: 20 })));
        bytes.extend_from_slice(&[0, 0, b'?']);
        assert!(read(&bytes).2.unwrap().contains("message 3 of the BinaryFILE has no length and type '?'"));
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_known_by_its_magic_and_may_be_cut() {
        let many: Vec<u8> = (0..2_000u32).flat_map(|n| [&[0, 4], n.to_be_bytes().as_slice()].concat()).collect();
        let packed = gzip(&many);
        let path = std::env::temp_dir().join(format!("twinline-binary-file-{}", std::process::id()));
        std::fs::write(&path, &packed).unwrap();
        let whole = drain(BinaryFile::open(&path).unwrap());
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let (cut, warning, error) = drain(BinaryFile::open(&path).unwrap());
        std::fs::write(&path, TWO).unwrap();
        let plain = drain(BinaryFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!((whole.0.len(), whole.1, whole.2), (2_000, None, None));
        assert!(!cut.is_empty() && cut.len() < 2_000 && error.is_none());
        assert!(matches!(warning, Some(MessageWarning::Truncated { .. })), "{warning:?}");
        assert_eq!(cut, whole.0[..cut.len()]);
        assert_eq!(plain.0.len(), 2);
    }
}
