//! The thread that looks after the lines while the hot thread receives: interfaces that go and come back, datagrams that the kernel
//! dropped. It reports over a bounded queue.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::os::{PinError, Stop};
use crate::source::{LiveWatch, Notice, WatchFacts};

/// How often the attendant looks at the lines.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many notices may wait to be read. Any more are only counted.
const NOTICES_MAX: usize = 1_024;

/// What a running feed reports beside its stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum RuntimeNotice {
    /// Something happened to a line's interface or sockets.
    Line(Notice),
    /// The interfaces cannot be looked after for now. The runtime keeps trying; the next failure after a success is reported again.
    Unattended(io::Error),
    /// The hot thread could not be pinned to its core, and runs unpinned.
    NotPinned(PinError),
    /// This many notices were dropped because the queue was full.
    Omitted(u64),
}

impl fmt::Display for RuntimeNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeNotice::Line(notice) => notice.fmt(f),
            RuntimeNotice::Unattended(error) => {
                write!(f, "cannot look after the interfaces: {error}; trying again")
            }
            RuntimeNotice::NotPinned(error) => write!(f, "{error}; going on without"),
            RuntimeNotice::Omitted(count) => write!(f, "{count} more notices that nobody read"),
        }
    }
}

/// The end of the queue into which notices go.
#[derive(Clone, Debug)]
pub(super) struct Notices {
    queue: SyncSender<RuntimeNotice>,
    omitted: Arc<Mutex<u64>>,
}

impl Notices {
    pub(super) fn put(&self, notice: RuntimeNotice) {
        if self.queue.try_send(notice).is_err() {
            *self.omitted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    }
}

/// The thread, and what it has found.
#[derive(Debug)]
pub(super) struct Attendant {
    thread: Option<JoinHandle<()>>,
    stop: Stop,
    facts: Arc<Mutex<Vec<WatchFacts>>>,
    notices: Receiver<RuntimeNotice>,
    omitted: Arc<Mutex<u64>>,
}

impl Attendant {
    /// Starts the thread. The other half is for another thread with something to report.
    pub(super) fn start(mut watch: LiveWatch) -> io::Result<(Attendant, Notices)> {
        let (queue, notices) = mpsc::sync_channel(NOTICES_MAX);
        let omitted = Arc::new(Mutex::new(0));
        let put = Notices { queue, omitted: Arc::clone(&omitted) };
        let facts = Arc::new(Mutex::new(watch.facts()));
        let stop = Stop::new();
        let thread = thread::Builder::new().name("attendant".into()).spawn({
            let (facts, stop, put) = (Arc::clone(&facts), stop.clone(), put.clone());
            move || {
                let mut failed = false;
                loop {
                    // one more look after the request to stop, for what the kernel has counted by then
                    let last = stop.requested();
                    look(&mut watch, &put, &mut failed);
                    *facts.lock().unwrap_or_else(PoisonError::into_inner) = watch.facts();
                    if last {
                        return;
                    }
                    thread::park_timeout(LOOK_EVERY);
                }
            }
        })?;
        Ok((Attendant { thread: Some(thread), stop, facts, notices, omitted }, put))
    }

    /// What it found at its last look, by line.
    pub(super) fn facts(&self) -> Vec<WatchFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next notice, if one waits.
    pub(super) fn notice(&self) -> Option<RuntimeNotice> {
        if let Ok(notice) = self.notices.try_recv() {
            return Some(notice);
        }
        let omitted = std::mem::take(&mut *self.omitted.lock().unwrap_or_else(PoisonError::into_inner));
        (omitted > 0).then_some(RuntimeNotice::Omitted(omitted))
    }

    /// Makes the thread take its last look and end.
    pub(super) fn end(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // nothing in it can panic; if it did, what it found before would stand
            let _ = thread.join();
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.end();
    }
}

fn look(watch: &mut LiveWatch, put: &Notices, failed: &mut bool) {
    match watch.check() {
        Ok(notices) => {
            *failed = false;
            notices.into_iter().for_each(|notice| put.put(RuntimeNotice::Line(notice)));
        }
        Err(error) => {
            if !std::mem::replace(failed, true) {
                put.put(RuntimeNotice::Unattended(error));
            }
        }
    }
}
