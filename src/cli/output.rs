//! What `--messages` and `--events` write, and the gaps that `--json` lists.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use twinline_analysis::report::GapLog;
use twinline_core::arbiter::{Event, EventKind, Run, Sink};
use twinline_core::frame::{ChannelKey, SequenceRules};
use twinline_node::config::Feed;

/// Where the ordered output goes: one file, or one file per channel.
enum Messages {
    None,
    One(Box<dyn Write + Send>),
    ByChannel { path: PathBuf, files: Vec<(ChannelKey, BufWriter<File>)> },
}

/// Writes an arbiter's output to the files of `--messages` and `--events`, and keeps the gaps for `--json`.
///
/// A [`Sink`] cannot fail. So the first error is kept, nothing is written after it, and [`Output::finish`] returns it.
pub(super) struct Output {
    messages: Messages,
    events: Option<Box<dyn Write + Send>>,
    names: Vec<String>,
    pub(super) gaps: GapLog,
    error: Option<anyhow::Error>,
}

/// Whether a feed can have several channels. If so, `--messages` writes one file per channel, however many turn up.
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

/// `FILE` with `.NAME` before its extension. The name is that of a channel or of a feed.
pub(super) fn named_path(path: &Path, name: impl std::fmt::Display) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{name}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{name}"),
    };
    path.with_file_name(name)
}

impl Output {
    /// Opens the files. `json` is true if `--json` takes standard output.
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
                    "--messages -: this feed can have several channels, and each gets its own file; \
                     give a file name, and each channel's name is put before its extension"
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
            // a message is part of a datagram, so its length fits in 16 bits
            let len = u16::try_from(message.len()).map_err(io::Error::other)?;
            out.write_all(&len.to_be_bytes())?;
            out.write_all(message)?;
        }
        Ok(())
    }

    /// Whether a write failed.
    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// What could not be written, and why.
    pub(super) fn error(&self) -> Option<&anyhow::Error> {
        self.error.as_ref()
    }

    /// Flushes the buffers, so that a reader of the files sees everything.
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

    /// Flushes the buffers.
    ///
    /// # Errors
    /// The first error of any write.
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

    #[test]
    fn the_channel_is_put_before_the_extension() {
        let key = ChannelKey { group: 0, key: Some(3) };
        assert_eq!(named_path(Path::new("/a/out.bin"), key), Path::new("/a/out.0.3.bin"));
        assert_eq!(named_path(Path::new("out"), key), Path::new("out.0.3"));
        assert_eq!(named_path(Path::new("x.tar.gz"), ChannelKey { group: 1, key: None }), Path::new("x.tar.1.gz"));
    }
}
