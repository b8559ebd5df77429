//! The thread that writes a capture: a disk that is slow or full costs capture records, and nothing else.

use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::anyhow;

use twinline_client::client::Polled;
use twinline_core::frame::LINES_MAX;
use twinline_core::time::Nanos;
use twinline_node::capture::{CaptureError, CaptureWriter};
use twinline_node::config::Feed;
use twinline_node::handler::tap::{self, Tap, Tapped};
use twinline_node::os::clock::Clock;

use super::{Failure, RING_CAPACITY, Voice, pause};

/// How often what was written is handed to the system, so that a reader of the file sees it.
const FLUSH_EVERY: Nanos = Nanos::from_millis(250);
/// How often a disk that takes nothing is told again.
const TELL_EVERY: Nanos = Nanos::from_secs(10);

/// A capture that is being written.
#[derive(Debug)]
pub(crate) struct Recording {
    thread: JoinHandle<Recorded>,
}

/// What is left when the tap has gone.
struct Recorded {
    writer: CaptureWriter,
    /// What the file could not take, by line.
    refused: [u64; LINES_MAX],
    records: u64,
}

/// What became of a capture.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured {
    /// Records in the file.
    pub(crate) records: u64,
    /// Datagrams that are not, by line.
    pub(crate) dropped: [u64; LINES_MAX],
    /// Why it is not whole.
    pub(crate) error: Option<String>,
}

impl Recording {
    /// Creates the file and starts its thread; the tap goes to the thread that receives.
    ///
    /// # Errors
    /// A file that cannot be written, as a usage failure.
    pub(crate) fn start(path: &Path, feed: &Feed, clock: Clock, voice: Voice) -> Result<(Tap, Recording), Failure> {
        // the error's text has its cause in it
        let writer = CaptureWriter::create(path, feed).map_err(|error| Failure::usage(anyhow!("{error}")))?;
        let (tap, tapped) = tap::open(RING_CAPACITY).map_err(Failure::run)?;
        let feed = feed.clone();
        let thread = thread::Builder::new().name("recorder".into());
        let thread = thread.spawn(move || write(writer, tapped, &feed, clock, &voice)).map_err(Failure::run)?;
        Ok((tap, Recording { thread }))
    }

    /// Ends the file, once the tap has been dropped. `dropped`: what the tap had no room for.
    pub(crate) fn finish(self, at: Nanos, dropped: [u64; LINES_MAX]) -> Captured {
        let Ok(Recorded { writer, refused, records }) = self.thread.join() else {
            let error = Some("the thread that writes the capture has failed: the file is cut off".to_owned());
            return Captured { records: 0, dropped, error };
        };
        let dropped: [u64; LINES_MAX] = std::array::from_fn(|line| dropped[line] + refused[line]);
        let error = writer.finish(at, &dropped).err().map(|error| format!("{error}: it is cut off there"));
        Captured { records, dropped, error }
    }
}

fn write(mut writer: CaptureWriter, mut tapped: Tapped, feed: &Feed, clock: Clock, voice: &Voice) -> Recorded {
    let (mut refused, mut records) = ([0; LINES_MAX], 0);
    let (mut flush_at, mut tell_at) = (clock.now(), Nanos::ZERO);
    let mut tell = |error: CaptureError| {
        let now = clock.now();
        if now >= tell_at {
            tell_at = now + TELL_EVERY;
            voice.say(format_args!("{error}; what it cannot take is counted as dropped, and the arbiter goes on"));
        }
    };
    loop {
        match tapped.poll() {
            Ok(Polled::Item(one)) => {
                let line = one.line.index();
                let group = feed.lines.get(line).and_then(|line| line.groups.get(usize::from(one.group)));
                let Some(&group) = group else { continue };
                match writer.write(one.stamp, one.line, one.sender, group, one.payload) {
                    Ok(()) => records += 1,
                    Err(error) => {
                        refused[line] += 1;
                        tell(error);
                    }
                }
            }
            Ok(Polled::Empty) => {
                if clock.now() >= flush_at {
                    flush_at = clock.now() + FLUSH_EVERY;
                    // what could not be handed over stays in the buffer, for the next time
                    writer.flush().unwrap_or_else(&mut tell);
                }
                pause();
            }
            Ok(Polled::Ended) => return Recorded { writer, refused, records },
            Err(broken) => {
                voice.say(format_args!("the capture ends here: {broken}"));
                return Recorded { writer, refused, records };
            }
        }
    }
}
