//! Lines of text as messages: each line is one, without its newline (and without the carriage return before it).
//!
//! A line that is too long is left out, whole, with a [`MessageWarning::LongLine`]; an empty line is an empty message.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use super::messages::{MessageSource, MessageWarning, Timing};

/// The longest line that is taken, in bytes: with any framing's header it fits an Ethernet frame.
pub const LINE_LEN_MAX: usize = 1_400;

/// How many lines a [`LiveTextLines`] reads ahead.
const AHEAD: usize = 1_024;

/// The lines of an input that never makes a reader wait: a file, a buffer.
pub struct TextLines<R> {
    input: R,
    number: u64,
    warnings: VecDeque<MessageWarning>,
}

impl<R: BufRead> TextLines<R> {
    /// Reads lines.
    pub fn new(input: R) -> TextLines<R> {
        TextLines { input, number: 0, warnings: VecDeque::new() }
    }

    /// Reads one line into `line`, as far as [`LINE_LEN_MAX`]; returns its whole length, `None` at the end.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
        line.clear();
        let mut len = 0u64;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if available.is_empty() {
                return Ok((len > 0).then_some(len));
            }
            let newline = available.iter().position(|&b| b == b'\n');
            let text = &available[..newline.unwrap_or(available.len())];
            // one byte more than allowed, since the last may be a carriage return
            let room = (LINE_LEN_MAX + 1).saturating_sub(line.len());
            line.extend_from_slice(&text[..text.len().min(room)]);
            len += text.len() as u64;
            let used = text.len() + usize::from(newline.is_some());
            self.input.consume(used);
            if newline.is_some() {
                return Ok(Some(len));
            }
        }
    }
}

impl<R: BufRead> MessageSource for TextLines<R> {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        loop {
            let Some(mut len) = self.read_line(message)? else { return Ok(None) };
            self.number += 1;
            if len == message.len() as u64 && message.last() == Some(&b'\r') {
                message.pop();
                len -= 1;
            }
            if len <= LINE_LEN_MAX as u64 {
                return Ok(Some(Timing::Untimed));
            }
            self.warnings.push_back(MessageWarning::LongLine { number: self.number, len, max: LINE_LEN_MAX });
        }
    }

    fn warning(&mut self) -> Option<MessageWarning> {
        self.warnings.pop_front()
    }
}

/// What the reading thread hands over.
enum Item {
    Message(Vec<u8>),
    Warning(MessageWarning),
    Failed(io::Error),
}

/// The lines of an input that may make a reader wait, such as standard input. A separate thread reads them. While there is no
/// line yet, the source returns [`io::ErrorKind::WouldBlock`], so that heartbeats go on.
pub struct LiveTextLines {
    items: Receiver<Item>,
    warnings: VecDeque<MessageWarning>,
}

impl LiveTextLines {
    /// Starts the thread. It ends with the input, or with the first line that it reads after this source is gone.
    ///
    /// # Errors
    /// The system's error if the thread cannot be started.
    pub fn spawn(input: impl BufRead + Send + 'static) -> io::Result<LiveTextLines> {
        let (sender, items) = sync_channel(AHEAD);
        thread::Builder::new().name("twinline-lines".into()).spawn(move || read_all(TextLines::new(input), &sender))?;
        Ok(LiveTextLines { items, warnings: VecDeque::new() })
    }
}

fn read_all<R: BufRead>(mut lines: TextLines<R>, sender: &SyncSender<Item>) {
    loop {
        let mut message = Vec::new();
        let read = lines.next(&mut message);
        while let Some(warning) = lines.warning() {
            if sender.send(Item::Warning(warning)).is_err() {
                return;
            }
        }
        let (item, last) = match read {
            Ok(Some(_)) => (Item::Message(message), false),
            Ok(None) => return,
            Err(e) => (Item::Failed(e), true),
        };
        if sender.send(item).is_err() || last {
            return;
        }
    }
}

impl MessageSource for LiveTextLines {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        loop {
            match self.items.try_recv() {
                Ok(Item::Message(line)) => {
                    *message = line;
                    return Ok(Some(Timing::Untimed));
                }
                Ok(Item::Warning(warning)) => self.warnings.push_back(warning),
                Ok(Item::Failed(e)) => return Err(e),
                Err(TryRecvError::Empty) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryRecvError::Disconnected) => return Ok(None),
            }
        }
    }

    fn warning(&mut self) -> Option<MessageWarning> {
        self.warnings.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> (Vec<Vec<u8>>, Vec<MessageWarning>) {
        let mut lines = TextLines::new(io::BufReader::with_capacity(7, input));
        let (mut all, mut message) = (Vec::new(), Vec::new());
        while lines.next(&mut message).unwrap().is_some() {
            all.push(message.clone());
        }
        (all, std::iter::from_fn(|| lines.warning()).collect())
    }

    #[test]
    fn a_line_is_a_message_without_its_newline() {
        let (all, warnings) = read(b"one\n\ntwo three\r\nlast");
        assert_eq!(all, [b"one".as_slice(), b"", b"two three", b"last"]);
        assert_eq!(warnings, []);
        assert_eq!(read(b"").0.len(), 0);
        assert_eq!(read(b"\n").0, [b""]);
    }

    #[test]
    fn a_long_line_is_left_out_with_a_word() {
        let fits = vec![b'f'; LINE_LEN_MAX];
        let long = vec![b'l'; LINE_LEN_MAX + 1];
        let input = [fits.as_slice(), b"\r\n", &long, b"\nafter\n", &long, b"\r\n"].concat();
        let (all, warnings) = read(&input);
        assert_eq!(all, [fits, b"after".to_vec()]);
        let len = LINE_LEN_MAX as u64 + 1;
        let told = |number, len| MessageWarning::LongLine { number, len, max: LINE_LEN_MAX };
        assert_eq!(warnings, [told(2, len), told(4, len + 1)]);
        assert!(warnings[0].to_string().starts_with("line 2 has 1401 bytes"));
    }

    /// An input that gives what the test says, when it says so.
    struct Told(Receiver<&'static [u8]>);

    impl io::Read for Told {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Ok(bytes) = self.0.recv() else { return Ok(0) };
            into[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn live_lines_do_not_wait() {
        let (say, told) = sync_channel(1);
        let mut lines = LiveTextLines::spawn(io::BufReader::new(Told(told))).unwrap();
        let mut message = Vec::new();
        assert_eq!(lines.next(&mut message).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        say.send(b"one\ntwo\n").unwrap();
        drop(say);
        let mut all = Vec::new();
        loop {
            match lines.next(&mut message) {
                Ok(Some(_)) => all.push(message.clone()),
                Ok(None) => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(all, [b"one", b"two"]);
    }
}
