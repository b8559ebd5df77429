//! Real packets, one or a few a file, read by the framing that they belong to: every file in `packets/` of the captures is
//! in a table here, or in the list of those that are none of ours, with the reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use twinline_core::frame::{Frame, FrameKind, Reset, Session};
use twinline_core::framing::{AnyFraming, Framing, WithFraming};
use twinline_node::capture::CaptureReader;

use crate::support::trials::{Test, captured, tests};

mod by_message;
mod packet_sequenced;

pub const TESTS: &[Test] =
    tests![every_packet_is_read_as_the_table_has_it, every_packet_is_written_again, no_file_is_left_out,];

/// A file under `packets/`, the framing that reads it, and its frames as [`text`] has them.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Every table: one for each module.
const TABLES: &[&[Row]] = &[by_message::ROWS, packet_sequenced::ROWS];

/// Files that hold no datagram of ours, by the beginning of their names, and why.
const NOT_OURS: &[(&str, &str)] = &[("Cme/Mdp3.Sbe.v1.12/", "CME's TCP services: requests and replay, no multicast")];

/// Every file under `folder`, by its path from there.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files
}

/// The datagrams of a file.
fn datagrams(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut datagrams = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        datagrams.push(record.payload.to_vec());
    }
    assert!(reader.warnings().is_empty(), "{}: {:?}", path.display(), reader.warnings());
    datagrams
}

/// A frame in words: kind, number and count; what else it has; the sizes of its messages, and its size where that is less than
/// the datagram's.
fn text(frame: &Frame<'_>, datagram: usize) -> String {
    let mut text = match frame.kind {
        FrameKind::Unsequenced => format!("unsequenced x{}", frame.count),
        kind => {
            let kind = match kind {
                FrameKind::Data => "data",
                FrameKind::Last => "last",
                FrameKind::Heartbeat => "heartbeat",
                _ => "end",
            };
            format!("{kind} {} x{}", frame.sequence, frame.count)
        }
    };
    if let Some(key) = frame.key {
        write!(text, " key {key}").unwrap();
    }
    if frame.session != Session::NONE {
        write!(text, " session {}", frame.session).unwrap();
    }
    if frame.heartbeat && frame.kind != FrameKind::Heartbeat {
        text.push_str(" heartbeat");
    }
    match frame.reset {
        Some(Reset::Marked(to)) => write!(text, " reset to {to}").unwrap(),
        Some(Reset::Heartbeat(to)) => write!(text, " may reset to {to}").unwrap(),
        None => {}
    }
    let messages: Vec<&[u8]> = frame.packing.messages(frame.body).take(frame.count as usize).collect();
    assert_eq!(messages.len(), frame.count as usize, "{text}: the messages that it counts");
    if !messages.is_empty() {
        let sizes: Vec<String> = messages.iter().map(|message| message.len().to_string()).collect();
        write!(text, ": {}", sizes.join(" ")).unwrap();
    }
    if frame.bytes.len() != datagram {
        write!(text, " of {datagram}").unwrap();
    }
    text
}

/// Reads datagrams as frames, in words; what is refused as its reason.
struct Read<'a>(&'a [Vec<u8>]);

impl WithFraming for Read<'_> {
    type Output = Vec<String>;

    fn with<F: Framing>(self, framing: F) -> Vec<String> {
        let mut texts = Vec::new();
        for datagram in self.0 {
            let mut at = 0;
            while let Some(frame) = framing.frame(datagram, &mut at) {
                match frame {
                    Ok(frame) => texts.push(text(&frame, datagram.len())),
                    Err(reason) => {
                        texts.push(format!("malformed {reason}"));
                        break;
                    }
                }
            }
        }
        texts
    }
}

/// Writes again what was read, and reads that: the numbers, the messages and the key are the same.
struct Again<'a>(&'a [Vec<u8>]);

impl WithFraming for Again<'_> {
    type Output = usize;

    fn with<F: Framing>(self, framing: F) -> usize {
        let mut again = 0;
        for datagram in self.0 {
            let mut at = 0;
            while let Some(Ok(frame)) = framing.frame(datagram, &mut at) {
                let framing = frame.key.map_or(framing, |key| framing.with_key(key));
                let mut out = Vec::new();
                match frame.kind {
                    FrameKind::Data | FrameKind::Last => {
                        let messages: Vec<&[u8]> =
                            frame.packing.messages(frame.body).take(frame.count as usize).collect();
                        let took =
                            framing.encode(frame.session, frame.sequence, &messages, datagram.len() + 1, &mut out);
                        assert_eq!(took, messages.len());
                    }
                    FrameKind::Heartbeat => {
                        assert_eq!(framing.encode_heartbeat(frame.session, frame.sequence, &mut out), 0);
                    }
                    FrameKind::EndOfSession => assert!(framing.encode_end(frame.session, frame.sequence, &mut out)),
                    FrameKind::Unsequenced => continue,
                }
                let back = framing.frame(&out, &mut 0).unwrap().unwrap();
                assert_eq!((back.kind, back.sequence, back.count), (frame.kind, frame.sequence, frame.count));
                assert_eq!((back.key, back.session, back.body), (frame.key, frame.session, frame.body));
                assert_eq!(back.heartbeat, frame.heartbeat);
                again += 1;
            }
        }
        again
    }
}

fn framing(name: &str) -> AnyFraming {
    AnyFraming::from_name(name).unwrap_or_else(|| panic!("no framing {name}"))
}

fn every_packet_is_read_as_the_table_has_it() {
    let folder = captured("packets");
    let mut wrong = String::new();
    for &(file, name, expected) in TABLES.iter().copied().flatten() {
        let read = framing(name).with(Read(&datagrams(&folder.join(file))));
        if read != expected {
            writeln!(wrong, "{file} by {name}:\n  read     {read:#?}\n  expected {expected:#?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn every_packet_is_written_again() {
    let folder = captured("packets");
    for &(file, name, expected) in TABLES.iter().copied().flatten() {
        let again = framing(name).with(Again(&datagrams(&folder.join(file))));
        let sequenced =
            expected.iter().filter(|text| !text.starts_with("unsequenced") && !text.starts_with("malformed"));
        assert_eq!(again, sequenced.count(), "{file}");
    }
}

fn no_file_is_left_out() {
    let folder = captured("packets");
    let mut left = files(&folder);
    for &(file, name, _) in TABLES.iter().copied().flatten() {
        assert!(left.remove(file), "{file}: not there, or twice in the tables (by {name})");
    }
    for (beginning, why) in NOT_OURS {
        let here: Vec<String> = left.iter().filter(|file| file.starts_with(beginning)).cloned().collect();
        assert!(!here.is_empty(), "{beginning}: there is none of it ({why})");
        for file in here {
            assert!(datagrams(&folder.join(&file)).is_empty(), "{file} holds a datagram ({why})");
            left.remove(&file);
        }
    }
    assert!(left.is_empty(), "in no table: {left:#?}");
}
