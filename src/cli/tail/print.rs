//! How `tail` prints what a client gets: for people, or as JSON.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use serde_json::Value;

use twinline_client::{Item, Jump, Message, Overrun};
use twinline_core::Nanos;
use twinline_core::arbiter::{Event, EventKind, Loss, line_name};

/// How bytes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// Printable ASCII, other bytes as `\xHH`, a backslash as two.
    Text,
    Hex,
    /// As they are.
    Raw,
}

/// Prints items, one per line.
pub(super) struct Printer<'a, W> {
    pub(super) out: W,
    pub(super) names: &'a [String],
    pub(super) bytes: Bytes,
    pub(super) json: bool,
}

/// Bytes as text.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x20..0x7f => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Seconds since 1970, to the nanosecond.
struct Seconds(Nanos);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.0 / 1_000_000_000, self.0.0 % 1_000_000_000)
    }
}

impl<W: Write> Printer<'_, W> {
    /// # Errors
    /// The output's.
    pub(super) fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Message(message) if self.json => self.message_json(message),
            Item::Message(message) => self.message(message),
            Item::Loss(loss) => self.loss(loss),
            Item::Jump(jump) => self.jump(jump),
            Item::Event(event) if self.json => writeln!(self.out, "{}", event.json(self.names)),
            Item::Event(event) => self.event(event),
            Item::Overrun(overrun) => self.overrun(overrun),
        }
    }

    fn message(&mut self, message: &Message<'_>) -> io::Result<()> {
        let Message { channel, sequence, line, stamp, flags, bytes, .. } = *message;
        write!(self.out, "{} ", channel.key)?;
        if flags.unsequenced {
            write!(self.out, "- ")?;
        } else {
            write!(self.out, "{sequence} ")?;
        }
        write!(self.out, "{} {} ", line_name(self.names, line), Seconds(stamp))?;
        for (is, word) in [(flags.heartbeat, "heartbeat"), (flags.late, "late")] {
            if is {
                write!(self.out, "[{word}] ")?;
            }
        }
        match self.bytes {
            Bytes::Text => writeln!(self.out, "{}", Escaped(bytes)),
            Bytes::Hex => writeln!(self.out, "{}", Hex(bytes)),
            Bytes::Raw => {
                self.out.write_all(bytes)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn message_json(&mut self, message: &Message<'_>) -> io::Result<()> {
        let Message { channel, session, sequence, line, stamp, flags, bytes } = *message;
        let quoted = |text: &dyn fmt::Display| Value::String(text.to_string());
        write!(self.out, r#"{{"ns":{},"channel":"{}","session":{}"#, stamp.0, channel.key, quoted(&session))?;
        if flags.unsequenced {
            write!(self.out, r#","message":null"#)?;
        } else {
            write!(self.out, r#","message":{sequence}"#)?;
        }
        write!(self.out, r#","line":{}"#, quoted(&line_name(self.names, line)))?;
        for (is, word) in [(flags.heartbeat, "heartbeat"), (flags.late, "late"), (flags.unsequenced, "unsequenced")] {
            if is {
                write!(self.out, r#","{word}":true"#)?;
            }
        }
        match self.bytes {
            Bytes::Hex => writeln!(self.out, r#","hex":"{}"}}"#, Hex(bytes)),
            Bytes::Text | Bytes::Raw => writeln!(self.out, r#","text":{}}}"#, quoted(&Escaped(bytes))),
        }
    }

    /// Prints an item that is not a message, in words.
    fn words(&mut self, channel: impl fmt::Display, at: Nanos, what: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{channel} -- {} {what}", Seconds(at))
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let names = self.names;
        let name = |line| line_name(names, line);
        let (key, at) = (event.channel.key, event.at);
        match event.kind {
            EventKind::Epoch { session, first } => {
                self.words(key, at, format_args!("session \"{session}\" from {first}"))
            }
            EventKind::Gap { range, line } => {
                self.words(key, at, format_args!("gap {range}, line {} has gone past it", name(line)))
            }
            EventKind::Filled { range, line, .. } => {
                self.words(key, at, format_args!("filled {range} by line {}", name(line)))
            }
            EventKind::Lost { range, reason, .. } => {
                self.words(key, at, format_args!("lost {range} ({})", reason.name()))
            }
            EventKind::Ended { session, next } => {
                self.words(key, at, format_args!("session \"{session}\" ended, next would be {next}"))
            }
            EventKind::EpochEnd { session, next, why } => {
                self.words(key, at, format_args!("session \"{session}\" is over at {next} ({})", why.name()))
            }
            EventKind::Line { line, from, to, why } => {
                let why = why.map_or(String::new(), |why| format!(" ({})", why.name()));
                self.words(key, at, format_args!("line {} is {}{why}, was {}", name(line), to.name(), from.name()))
            }
            EventKind::Divergence { number, line, other, hash, other_hash } => {
                let (line, other) = (name(line), name(other));
                let what = format_args!(
                    "DIVERGENCE at {number}: line {other} brought {other_hash:08x}; the first copy, {hash:08x} from line {line}, stands"
                );
                self.words(key, at, what)
            }
        }
    }

    fn loss(&mut self, loss: &Loss) -> io::Result<()> {
        let Loss { channel, range, reason, at, .. } = *loss;
        if !self.json {
            return self.words(channel.key, at, format_args!("lost {range} ({})", reason.name()));
        }
        self.range_json(
            "lost",
            at,
            channel.key,
            (range.first.0, range.end.0),
            &format!(r#","reason":"{}""#, reason.name()),
        )
    }

    fn jump(&mut self, jump: &Jump) -> io::Result<()> {
        let Jump { at, channel, range, .. } = *jump;
        if !self.json {
            return self.words(channel.key, at, format_args!("jumped {range}"));
        }
        self.range_json("jump", at, channel.key, (range.first.0, range.end.0), "")
    }

    fn overrun(&mut self, overrun: &Overrun) -> io::Result<()> {
        let Overrun { at, channel, range, messages, events, .. } = *overrun;
        if !self.json {
            let what = format_args!("overrun: printing is too slow; {messages} messages in {range} were skipped");
            return self.words(channel.key, at, what);
        }
        let counts = format!(r#","messages":{messages},"events":{events}"#);
        self.range_json("overrun", at, channel.key, (range.first.0, range.end.0), &counts)
    }

    /// Prints a range as JSON, in the form of the other events.
    fn range_json(
        &mut self,
        what: &str,
        at: Nanos,
        channel: impl fmt::Display,
        (first, end): (u64, u64),
        more: &str,
    ) -> io::Result<()> {
        let at = at.0;
        writeln!(self.out, r#"{{"ns":{at},"channel":"{channel}","event":"{what}","first":{first},"end":{end}{more}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use twinline_core::arbiter::{ChannelRef, LostReason, RunFlags};
    use twinline_core::frame::{ChannelKey, Line, Session};
    use twinline_core::{SeqNo, SeqRange};

    fn printed(items: &[Item<'_>], bytes: Bytes, json: bool) -> String {
        let names = ["A".to_owned(), "B".to_owned()];
        let mut printer = Printer { out: Vec::new(), names: &names, bytes, json };
        items.iter().for_each(|item| printer.item(item).unwrap());
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn an_item_is_a_line() {
        let channel = ChannelRef { index: 0, key: ChannelKey { group: 0, key: Some(3) } };
        let session = Session::text(b"S");
        let message = |sequence, bytes, flags| {
            let stamp = Nanos(1_000_000_007);
            Item::Message(Message { channel, session, sequence: SeqNo(sequence), line: Line(1), stamp, flags, bytes })
        };
        let range = SeqRange::new(SeqNo(4), SeqNo(6));
        let loss = Loss { channel, session, range, reason: LostReason::Deadline, at: Nanos(5) };
        let unsequenced = RunFlags { unsequenced: true, ..RunFlags::default() };
        let items = [message(3, b"a\\\n\xff", RunFlags::default()), Item::Loss(loss), message(0, b"late", unsequenced)];
        assert_eq!(
            printed(&items, Bytes::Text, false),
            "0.3 3 B 1.000000007 a\\\\\\x0a\\xff\n0.3 -- 0.000000005 lost [4, 6) (deadline)\n0.3 - B 1.000000007 late\n"
        );
        assert_eq!(printed(&items[..1], Bytes::Hex, false), "0.3 3 B 1.000000007 615c0aff\n");
        let json = printed(&items, Bytes::Hex, true);
        let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["hex"], "615c0aff");
        assert_eq!(
            lines[1],
            json!({"ns": 5, "channel": "0.3", "event": "lost", "first": 4, "end": 6, "reason": "deadline"})
        );
        assert_eq!((&lines[2]["message"], &lines[2]["unsequenced"]), (&json!(null), &json!(true)));
    }
}
