//! The thread that writes a capture. A disk that is slow or full costs capture records and nothing else.

use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twinline_client::ring::{Polled, RingError};
use twinline_core::Nanos;
use twinline_core::frame::LINES_MAX;

use crate::capture::{CaptureError, CaptureWriter};
use crate::config::Feed;
use crate::handler::{Tap, Tapped};
use crate::os::Clock;

/// The capacity of the ring between the hot thread and the recorder, in bytes: enough for half a second of the heaviest feed.
const RING_CAPACITY: usize = 64 << 20;
/// A pause when there is nothing to write.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the writer hands its buffer to the system, so that readers of the file see what was written.
const FLUSH_EVERY: Nanos = Nanos::from_millis(250);
/// How often a disk that takes nothing is reported.
const TELL_EVERY: Nanos = Nanos::from_secs(10);

/// Why a capture cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The file cannot be created.
    #[error(transparent)]
    File(#[from] CaptureError),
    /// The ring between the two threads cannot be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The thread cannot be started.
    #[error("cannot start the thread that writes the capture: {0}")]
    Thread(io::Error),
}

/// A capture that is being written.
#[derive(Debug)]
pub struct Recorder {
    thread: JoinHandle<Recorded>,
}

/// What the thread returns once the tap has gone.
struct Recorded {
    writer: CaptureWriter,
    /// Datagrams that could not be written, by line.
    refused: [u64; LINES_MAX],
    records: u64,
}

/// The result of a capture.
#[derive(Clone, Debug, Default)]
pub struct CaptureSummary {
    /// Records in the file.
    pub records: u64,
    /// Datagrams that are missing from it, by line.
    pub dropped: [u64; LINES_MAX],
    /// Why the file is cut off, if it is.
    pub error: Option<String>,
}

impl Recorder {
    /// Creates the file, a pcapng, and starts the thread that writes it. Give the tap to [`Runtime::tap`](super::Runtime::tap). If
    /// the disk cannot keep up, the thread calls `trouble` with a sentence for the user.
    ///
    /// # Errors
    /// [`RecorderError`]
    pub fn start(
        path: &Path,
        feed: &Feed,
        clock: Clock,
        trouble: impl Fn(&str) + Send + 'static,
    ) -> Result<(Tap, Recorder), RecorderError> {
        let writer = CaptureWriter::create(path, feed)?;
        let (tap, tapped) = Tap::open(RING_CAPACITY)?;
        let feed = feed.clone();
        let thread = thread::Builder::new().name("recorder".into());
        let thread = thread.spawn(move || write(writer, tapped, &feed, clock, &trouble));
        Ok((tap, Recorder { thread: thread.map_err(RecorderError::Thread)? }))
    }

    /// Waits for the thread and ends the file. The tap must be dropped first. `dropped` is what the tap had no room for.
    pub fn finish(self, at: Nanos, dropped: [u64; LINES_MAX]) -> CaptureSummary {
        let Ok(Recorded { writer, refused, records }) = self.thread.join() else {
            let error = Some("the thread that writes the capture has failed: the file is cut off".to_owned());
            return CaptureSummary { records: 0, dropped, error };
        };
        let dropped: [u64; LINES_MAX] = std::array::from_fn(|line| dropped[line] + refused[line]);
        let error = writer.finish(at, &dropped).err().map(|error| format!("{error}: it is cut off there"));
        CaptureSummary { records, dropped, error }
    }
}

fn write(
    mut writer: CaptureWriter,
    mut tapped: Tapped,
    feed: &Feed,
    clock: Clock,
    trouble: &impl Fn(&str),
) -> Recorded {
    let (mut refused, mut records) = ([0; LINES_MAX], 0);
    let (mut flush_at, mut tell_at) = (clock.now(), Nanos::ZERO);
    let mut tell = |error: CaptureError| {
        let now = clock.now();
        if now >= tell_at {
            tell_at = now + TELL_EVERY;
            trouble(&format!("{error}; what it cannot take is counted as dropped, and the arbiter goes on"));
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
                    // what the system does not take stays in the buffer until the next flush
                    writer.flush().unwrap_or_else(&mut tell);
                }
                thread::sleep(PAUSE);
            }
            Ok(Polled::Ended) => return Recorded { writer, refused, records },
            Err(broken) => {
                trouble(&format!("the capture ends here: {broken}"));
                return Recorded { writer, refused, records };
            }
        }
    }
}
