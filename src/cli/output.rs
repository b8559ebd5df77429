//! What `--messages` and `--events` write, and the gaps that `--json` lists.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use twinline_core::arbiter::{Event, EventKind, LostReason, Run, Sink};
use twinline_core::frame::{ChannelKey, Line, SequenceRules, Session};
use twinline_core::seq::SeqRange;
use twinline_core::time::Nanos;
use twinline_node::config::Feed;

/// How many gaps `--json` lists, over all channels of a feed (ARBITRATION 9).
pub(super) const GAPS_LISTED: usize = 65_536;

/// A gap piece that was closed.
pub(super) struct ClosedGap {
    pub(super) session: Session,
    pub(super) range: SeqRange,
    pub(super) opened_by: Line,
    pub(super) opened_at: Nanos,
    pub(super) closed_at: Nanos,
    pub(super) fate: Fate,
}

/// What became of a gap piece.
pub(super) enum Fate {
    Filled(Line),
    Lost(LostReason),
}

/// What the events of one channel said that the counters do not.
pub(super) struct ChannelLog {
    pub(super) key: ChannelKey,
    session: Session,
    /// Those that are listed, in the order of closing.
    pub(super) gaps: Vec<ClosedGap>,
    /// Gap pieces that were filled, and lost, listed or not.
    pub(super) filled: u64,
    pub(super) lost: u64,
}

/// The gaps of every channel: how many, and where they are to be listed, the first ones of the feed.
pub(super) struct GapLog {
    channels: Vec<ChannelLog>,
    /// How many may still be listed.
    room: usize,
    omitted: u64,
}

impl GapLog {
    /// A log that lists gaps for `--json`, or counts them alone.
    pub(super) fn new(listed: bool) -> GapLog {
        GapLog { channels: Vec::new(), room: if listed { GAPS_LISTED } else { 0 }, omitted: 0 }
    }

    pub(super) fn channel(&self, key: ChannelKey) -> Option<&ChannelLog> {
        self.channels.iter().find(|log| log.key == key)
    }

    /// How many are not listed.
    pub(super) fn omitted(&self) -> u64 {
        self.omitted
    }

    pub(super) fn event(&mut self, event: &Event) {
        let at = usize::from(event.channel.index);
        while self.channels.len() <= at {
            // channels begin in the order of their index, each with an epoch
            let key = event.channel.key;
            self.channels.push(ChannelLog { key, session: Session::NONE, gaps: Vec::new(), filled: 0, lost: 0 });
        }
        let log = &mut self.channels[at];
        let (range, opened_by, opened_at, fate) = match event.kind {
            EventKind::Epoch { session, .. } => {
                log.session = session;
                return;
            }
            EventKind::Filled { range, line, opened_by, opened_at } => {
                (range, opened_by, opened_at, Fate::Filled(line))
            }
            EventKind::Lost { range, reason, opened_by, opened_at } => {
                (range, opened_by, opened_at, Fate::Lost(reason))
            }
            _ => return,
        };
        match fate {
            Fate::Filled(_) => log.filled += 1,
            Fate::Lost(_) => log.lost += 1,
        }
        if self.room == 0 {
            self.omitted += 1;
            return;
        }
        self.room -= 1;
        let (session, closed_at) = (log.session, event.at);
        log.gaps.push(ClosedGap { session, range, opened_by, opened_at, closed_at, fate });
    }
}

/// Where the ordered output goes: one file, or one a channel.
enum Messages {
    None,
    One(Box<dyn Write + Send>),
    ByChannel { path: PathBuf, files: Vec<(ChannelKey, BufWriter<File>)> },
}

/// Writes what an arbiter says to the files of `--messages` and `--events`, and keeps the gaps for `--json`.
///
/// It is a [`Sink`], which cannot fail: the first error is kept, nothing is written after it, and [`Output::finish`] gives it.
pub(super) struct Output {
    messages: Messages,
    events: Option<Box<dyn Write + Send>>,
    names: Vec<String>,
    pub(super) gaps: GapLog,
    error: Option<anyhow::Error>,
}

/// Whether a feed may have several channels: then `--messages` writes a file a channel, whatever happens to come.
fn several_channels(feed: &Feed, rules: &SequenceRules) -> bool {
    rules.keyed || feed.lines.first().is_some_and(|line| line.groups.len() > 1)
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn create(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if is_stdout(path) {
        return Ok(Box::new(BufWriter::with_capacity(1 << 16, io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(Box::new(BufWriter::with_capacity(1 << 18, file)))
}

/// `FILE` with `.NAME` before its extension: a channel's, or a feed's.
pub(super) fn named_path(path: &Path, name: impl std::fmt::Display) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{name}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{name}"),
    };
    path.with_file_name(name)
}

impl Output {
    /// Opens the files. `json` says that stdout is taken by `--json`.
    ///
    /// # Errors
    /// A file that cannot be written; two outputs on stdout; several channels on stdout.
    pub(super) fn open(
        feed: &Feed,
        rules: &SequenceRules,
        messages: Option<&Path>,
        events: Option<&Path>,
        json: bool,
    ) -> anyhow::Result<Output> {
        let on_stdout = [messages, events].into_iter().flatten().filter(|path| is_stdout(path)).count();
        if on_stdout + usize::from(json) > 1 {
            bail!("--json, --messages - and --events - all write to standard output: give all but one of them a file");
        }
        let messages = match messages {
            None => Messages::None,
            Some(path) if !several_channels(feed, rules) => Messages::One(create(path)?),
            Some(path) if is_stdout(path) => {
                bail!(
                    "--messages -: this feed can have several channels, and each has a file of its own; \
                     give a file name, and each channel's is put before its extension"
                )
            }
            Some(path) => Messages::ByChannel { path: path.to_owned(), files: Vec::new() },
        };
        let events = events.map(create).transpose()?;
        let names = feed.lines.iter().map(|line| line.name.clone()).collect();
        Ok(Output { messages, events, names, gaps: GapLog::new(json), error: None })
    }

    fn try_event(&mut self, event: &Event) -> anyhow::Result<()> {
        if let Some(events) = &mut self.events {
            writeln!(events, "{}", event.json(&self.names)).context("--events")?;
        }
        if let (EventKind::Epoch { .. }, Messages::ByChannel { path, files }) = (event.kind, &mut self.messages) {
            let key = event.channel.key;
            if !files.iter().any(|(known, _)| *known == key) {
                let path = named_path(path, key);
                let file = File::create(&path).with_context(|| format!("{}: cannot be written", path.display()))?;
                files.push((key, BufWriter::new(file)));
            }
        }
        Ok(())
    }

    fn try_release(&mut self, run: &Run<'_>) -> io::Result<()> {
        let out: &mut dyn Write = match &mut self.messages {
            Messages::None => return Ok(()),
            Messages::One(out) => out,
            Messages::ByChannel { files, .. } => match files.iter_mut().find(|(key, _)| *key == run.channel.key) {
                Some((_, out)) => out,
                None => return Ok(()),
            },
        };
        for message in run.messages() {
            // a message is part of a datagram, which is no longer than that
            let len = u16::try_from(message.len()).map_err(io::Error::other)?;
            out.write_all(&len.to_be_bytes())?;
            out.write_all(message)?;
        }
        Ok(())
    }

    /// Whether something could not be written.
    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// What could not be written, and why.
    pub(super) fn error(&self) -> Option<&anyhow::Error> {
        self.error.as_ref()
    }

    /// Writes out what is buffered, so that a reader of the files sees it.
    pub(super) fn flush(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.try_flush()
        {
            self.error = Some(error);
        }
    }

    fn try_flush(&mut self) -> anyhow::Result<()> {
        match &mut self.messages {
            Messages::None => {}
            Messages::One(out) => out.flush().context("--messages")?,
            Messages::ByChannel { files, .. } => {
                files.iter_mut().try_for_each(|(_, out)| out.flush()).context("--messages")?;
            }
        }
        if let Some(events) = &mut self.events {
            events.flush().context("--events")?;
        }
        Ok(())
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first error of all the writing.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.flush();
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Sink for Output {
    fn event(&mut self, event: &Event) {
        self.gaps.event(event);
        if self.error.is_none()
            && let Err(error) = self.try_event(event)
        {
            self.error = Some(error);
        }
    }

    fn release(&mut self, run: &Run<'_>) {
        if self.error.is_none()
            && let Err(error) = self.try_release(run)
        {
            self.error = Some(anyhow::Error::new(error).context("--messages"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinline_core::arbiter::ChannelRef;
    use twinline_core::seq::SeqNo;

    /// One lost gap piece of a channel.
    fn lost(index: u16, first: u64) -> Event {
        let range = SeqRange::new(SeqNo(first), SeqNo(first + 1));
        let (opened_by, opened_at) = (Line(0), Nanos(1));
        let kind = EventKind::Lost { range, reason: LostReason::Deadline, opened_by, opened_at };
        let key = ChannelKey { group: index, key: None };
        Event { at: Nanos(2), channel: ChannelRef { index, key }, kind }
    }

    #[test]
    fn rule_9_gaps_are_listed_over_the_whole_feed_the_first_ones_and_the_rest_counted() {
        let mut log = GapLog::new(true);
        let channels = 256;
        for n in 0..1_000u64 {
            (0..channels).for_each(|channel| log.event(&lost(channel, n * 2)));
        }
        let listed = |log: &GapLog| log.channels.iter().map(|log| log.gaps.len()).sum::<usize>();
        assert_eq!((listed(&log), log.omitted()), (GAPS_LISTED, 256_000 - GAPS_LISTED as u64));
        let first = log.channel(ChannelKey { group: 0, key: None }).unwrap();
        assert_eq!((first.gaps.len(), first.filled, first.lost), (GAPS_LISTED / 256, 0, 1_000));
        assert!(first.gaps.iter().zip(0..).all(|(gap, n)| gap.range.first == SeqNo(n * 2)), "the first ones are kept");

        let mut log = GapLog::new(false);
        (0..1_000).for_each(|n| log.event(&lost(0, n * 2)));
        assert_eq!((listed(&log), log.channels[0].gaps.capacity(), log.channels[0].lost), (0, 0, 1_000));
    }

    #[test]
    fn a_channel_stands_before_the_extension() {
        let key = ChannelKey { group: 0, key: Some(3) };
        assert_eq!(named_path(Path::new("/a/out.bin"), key), Path::new("/a/out.0.3.bin"));
        assert_eq!(named_path(Path::new("out"), key), Path::new("out.0.3"));
        assert_eq!(named_path(Path::new("x.tar.gz"), ChannelKey { group: 1, key: None }), Path::new("x.tar.1.gz"));
    }
}
