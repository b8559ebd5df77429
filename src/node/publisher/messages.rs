//! What a source of messages is, and the simplest one: a list.

use std::fmt;
use std::io;

use crate::capture;
use twinline_core::Nanos;
use twinline_core::frame::Packing;

/// The longest message that a source hands over, in bytes: with any framing's header it still fits a UDP datagram.
pub const MESSAGE_LEN_MAX: usize = 65_000;

/// When a message was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// The source has no times.
    Untimed,
    /// This long after the source's first message.
    Recorded(Nanos),
}

/// What a source reports without ending.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageWarning {
    /// The input ends within a message: what came before it was published.
    Truncated {
        /// Whole messages before the cut.
        messages: u64,
        /// Bytes of the message that is not whole.
        bytes: u64,
    },
    /// Bytes after the end-of-session mark (a length of zero) were ignored.
    BehindEnd {
        /// Whole messages before the mark.
        messages: u64,
    },
    /// A line of input is too long for a message and was left out.
    LongLine {
        /// The line, counted from 1.
        number: u64,
        /// Its length in bytes.
        len: u64,
        /// The most that a message may have.
        max: usize,
    },
    /// A capture's own.
    Capture(capture::CaptureWarning),
    /// No line of the feed has a datagram in the capture.
    NotOfTheFeed {
        /// How many were for other groups.
        other_groups: u64,
    },
    /// Messages that no line brought into the capture are left out. What is published has no hole there.
    Lost {
        /// How many numbers.
        messages: u64,
    },
    /// The capture has messages of other channels than the one that is published.
    OtherChannels {
        /// How many.
        messages: u64,
        /// The group that is published, by its position in every line's list.
        group: u16,
    },
}

impl fmt::Display for MessageWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MessageWarning::Truncated { messages, bytes } => {
                write!(f, "the input is cut off within message {}, after {bytes} bytes of it; ", messages + 1)?;
                write!(f, "all {messages} whole messages before it are published")
            }
            MessageWarning::BehindEnd { messages } => {
                write!(f, "an end-of-session mark after {messages} messages; what comes after it is left out")
            }
            MessageWarning::LongLine { number, len, max } => {
                write!(f, "line {number} has {len} bytes and is left out: a message may have {max}")
            }
            MessageWarning::Capture(ref warning) => warning.fmt(f),
            MessageWarning::NotOfTheFeed { other_groups } => write!(
                f,
                "no datagram of this feed was in the capture, {other_groups} were for other groups; the feed that it was \
                 taken of can be named with --capture-feed"
            ),
            MessageWarning::Lost { messages } => write!(
                f,
                "{messages} messages are on no line of the capture: those after them move up and are numbered anew"
            ),
            MessageWarning::OtherChannels { messages, group } => {
                write!(
                    f,
                    "the capture has {messages} messages of other channels than that of group {group}: they are left out"
                )
            }
        }
    }
}

/// Where messages come from, one after the other.
pub trait MessageSource {
    /// Puts the next message into `message` (clearing it first); `None` at the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if a live source has no message yet: ask again later. Any other error ends it.
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>>;

    /// How the messages carry their own length, if they come from a framing; `None` if they are bare. A framing that packs the
    /// same way writes them as they are.
    fn packing(&self) -> Option<Packing> {
        None
    }

    /// The next warning; each is returned once. Ask after [`MessageSource::next`].
    fn warning(&mut self) -> Option<MessageWarning> {
        None
    }
}

impl<S: MessageSource + ?Sized> MessageSource for Box<S> {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        (**self).next(message)
    }

    fn packing(&self) -> Option<Packing> {
        (**self).packing()
    }

    fn warning(&mut self) -> Option<MessageWarning> {
        (**self).warning()
    }
}

/// Messages from memory, with or without times.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    messages: std::vec::IntoIter<(Timing, Vec<u8>)>,
}

impl Listed {
    /// These messages, without times.
    pub fn new<M: Into<Vec<u8>>>(messages: impl IntoIterator<Item = M>) -> Listed {
        let all: Vec<_> = messages.into_iter().map(|m| (Timing::Untimed, m.into())).collect();
        Listed { messages: all.into_iter() }
    }

    /// These messages, each with its time after the first.
    pub fn recorded<M: Into<Vec<u8>>>(messages: impl IntoIterator<Item = (Nanos, M)>) -> Listed {
        let all: Vec<_> = messages.into_iter().map(|(at, m)| (Timing::Recorded(at), m.into())).collect();
        Listed { messages: all.into_iter() }
    }
}

impl MessageSource for Listed {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        Ok(self.messages.next().map(|(timing, bytes)| {
            message.clear();
            message.extend_from_slice(&bytes);
            timing
        }))
    }
}
