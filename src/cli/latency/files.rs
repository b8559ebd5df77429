//! What `--out` writes: histogram logs, percentile files, the report, the page.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use serde_json::Value;

use crate::Failure;
use twinline_analysis::latency::{
    BlockKind, Interval, LatencyCause, LatencyReport, PassResults, RatioResults, write_hgrm,
};
use twinline_core::Nanos;

/// The directory of `--out`, which was empty when it was opened.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Creates the directory, or takes an empty one.
    pub(super) fn make(path: &Path) -> Result<Folder, Failure> {
        let refused =
            |error: io::Error| Failure::usage(anyhow!("--out {}: cannot be created: {error}", path.display()));
        fs::create_dir_all(path).map_err(refused)?;
        if fs::read_dir(path).map_err(refused)?.next().is_some() {
            return Err(Failure::usage(anyhow!(
                "--out {}: the directory is not empty; name a new or empty one",
                path.display()
            )));
        }
        Ok(Folder(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
        let path = self.0.join(name);
        let write = || {
            let mut out = BufWriter::new(File::create(&path)?);
            content(&mut out)?;
            out.flush()
        };
        write().with_context(|| format!("cannot write {}", path.display())).map_err(Failure::run)
    }

    fn hgrm(&self, name: &str, times: &Histogram<u64>) -> Result<(), Failure> {
        if times.is_empty() {
            return Ok(());
        }
        self.write(&format!("{name}.hgrm"), |out| write_hgrm(times, out))
    }

    /// Begins the log of a pass.
    pub(super) fn log(&self, label: &str, now: Nanos) -> Result<Log, Failure> {
        Log::begin(self.0.join(format!("{}.hlog", file_name(label))), now)
    }

    /// The percentile files of the ratio.
    pub(super) fn ratio(&self, ratio: &RatioResults) -> Result<(), Failure> {
        let method = ratio.method.name();
        for kind in BlockKind::ALL {
            self.hgrm(&file_name(&format!("two-core {method} {}", kind.words())), ratio.times(kind))?;
        }
        self.hgrm(&format!("two-core-{method}-receive-to-read"), ratio.to_client())
    }

    /// The percentile files of a pass.
    pub(super) fn pass(&self, pass: &PassResults) -> Result<(), Failure> {
        let name = file_name(&pass.label);
        self.hgrm(&name, &pass.total)?;
        for (cause, times) in &pass.causes {
            self.hgrm(&format!("{name}-{}", cause.name()), times)?;
        }
        for (stage, times) in &pass.stages {
            self.hgrm(&format!("{name}-{}", stage.name()), times)?;
        }
        Ok(())
    }

    /// The report and the page.
    pub(super) fn finish(&self, report: &LatencyReport, object: &Value) -> Result<(), Failure> {
        self.write("latency.json", |out| writeln!(out, "{object:#}"))?;
        self.write("latency.html", |out| out.write_all(report.page().as_bytes()))
    }
}

/// A label without characters that are awkward in a file's name: `100k/s 64 B` is `100k-64B`.
fn file_name(label: &str) -> String {
    let shortened = label.replace("/s ", " ").replace(" B", "B").replace(", ", " ");
    shortened.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// A histogram log: one interval per second and cause, tagged with the cause.
pub(super) struct Log {
    path: PathBuf,
    out: BufWriter<File>,
    began: Nanos,
    serializer: V2DeflateSerializer,
}

impl Log {
    fn begin(path: PathBuf, began: Nanos) -> Result<Log, Failure> {
        let begin = || {
            let mut out = BufWriter::new(File::create(&path)?);
            let mut serializer = V2DeflateSerializer::new();
            builder(began)
                .add_comment("[Nanoseconds from intended send to client read, a second and a cause (tag) each]")
                .begin_log_with(&mut out, &mut serializer)?;
            Ok::<_, io::Error>((out, serializer))
        };
        let (out, serializer) = begin().map_err(|error| failed(&path, error))?;
        Ok(Log { path, out, began, serializer })
    }

    /// Adds what an interval has.
    pub(super) fn write(&mut self, interval: &Interval) -> Result<(), Failure> {
        let Log { path, out, began, serializer } = self;
        // a writer borrows its output and serializer, so each interval makes one; the header that it repeats is dropped
        let mut lines = Vec::new();
        let mut writer = builder(*began).begin_log_with(&mut lines, serializer).map_err(|error| failed(path, error))?;
        let (start, span) = (Duration::from(interval.start - *began), Duration::from(interval.end - interval.start));
        for (cause, times) in LatencyCause::ALL.iter().zip(&interval.causes).filter(|(_, times)| !times.is_empty()) {
            writer.write_histogram(times, start, span, Tag::new(cause.name())).map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => failed(path, error),
                error => failed(path, format!("{error:?}")),
            })?;
        }
        drop(writer);
        let mut text = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
        text.try_for_each(|line| out.write_all(line)).map_err(|error| failed(path, error))
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| failed(&self.path, error))
    }
}

fn builder(began: Nanos) -> IntervalLogWriterBuilder {
    let began = UNIX_EPOCH + Duration::from(began);
    let mut builder = IntervalLogWriterBuilder::new();
    // the column of maxima is in microseconds, as the percentile files are
    builder.with_start_time(began).with_base_time(began).with_max_value_divisor(1_000.0);
    builder
}

fn failed(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::run(anyhow!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use twinline_analysis::latency::histogram;

    #[test]
    fn labels_become_file_names() {
        assert_eq!(file_name("100k/s 64 B"), "100k-64B");
        assert_eq!(file_name("1.5M/s 512 B burst 16 stamps"), "1.5M-512B-burst-16-stamps");
        assert_eq!(file_name("two-core arbiter, stamped"), "two-core-arbiter-stamped");
    }

    #[test]
    fn a_log_is_read_back_as_it_was_written() {
        let path = std::env::temp_dir().join(format!("twinline-log-{}.hlog", std::process::id()));
        let began = Nanos::from_secs(1_700_000_000);
        let mut log = Log::begin(path.clone(), began).unwrap();
        let mut times = histogram();
        times.record_n(3_350, 40).unwrap();
        for second in 0..2 {
            let start = began + Nanos::from_millis(1_000 * second + 500);
            let causes = [times.clone(), histogram(), times.clone()];
            log.write(&Interval { start, end: start + Nanos::from_secs(1), causes }).unwrap();
        }
        log.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count() - 4, text_comments(&bytes));
        let intervals = IntervalLogIterator::new(&bytes).filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => Some(interval),
            _ => None,
        });
        let read: Vec<_> = intervals
            .map(|interval| {
                let encoded = interval.encoded_histogram();
                let raw = base64(encoded);
                let times: Histogram<u64> = Deserializer::new().deserialize(&mut raw.as_slice()).unwrap();
                let (start, tag) =
                    (interval.start_timestamp().as_millis(), interval.tag().map(|tag| tag.as_str().to_owned()));
                (start, tag.unwrap(), interval.max(), times.len())
            })
            .collect();
        let row = |start, tag: &str| (start, tag.to_owned(), 3.351, 40);
        assert_eq!(read, [row(500, "first"), row(500, "recovered"), row(1_500, "first"), row(1_500, "recovered")]);
    }

    fn text_comments(bytes: &[u8]) -> usize {
        bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"#")).count()
    }

    /// The usual alphabet, with padding.
    fn base64(text: &str) -> Vec<u8> {
        let value = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut out = Vec::new();
        for four in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = four.iter().fold(0u32, |bits, c| bits << 6 | u32::from(value(*c))) << (6 * (4 - four.len()));
            out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
        }
        out
    }
}
