//! Capture files of any length: how fast `twinline arbitrate` is, compared with only reading and decompressing the file.
//!
//! The capture holds our own traffic: MoldUDP64 on lines A and B, with messages of the shape and the entropy of an order book's. B is
//! a little behind A, and each line loses one datagram in a thousand. It is measured plain, as gzip and as zstd, each at its
//! program's default level, from the page cache. The programs take turns, and the floor runs twice per round. If the second run does
//! not take 1.00 times the first, the round was disturbed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use fastrand::Rng;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use twinline_core::Nanos;
use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::capture::{CaptureReader, CaptureWriter};
use twinline_node::config::Feed;
use twinline_node::os::Clock;

use crate::machine;

/// Arbitrating a capture of gigabytes, plain, gzip and zstd, against only reading and decompressing it: GB/s
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of the capture in GiB; the compressed files take about two thirds of that on top
    #[arg(long, value_name = "N", default_value_t = 0.25)]
    gib: f64,
    /// Turns per contender; 0 makes the files and measures nothing
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the files are, or where to make and keep them [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Measures only this kind, for a profiler: plain, gzip or zstd
    #[arg(long, value_name = "KIND")]
    only: Option<String>,
}

const FEED: &str = r#"
name = "captures"
framing = "moldudp64"

[[line]]
name = "A"
groups = ["239.81.1.1:26400"]
interface = "127.0.0.1"

[[line]]
name = "B"
groups = ["239.81.2.1:26400"]
interface = "127.0.0.1"
"#;

/// The capture's three files, and what each is called.
const KINDS: [(&str, &str); 3] =
    [("plain", "capture.pcapng"), ("gzip", "capture.pcapng.gz"), ("zstd", "capture.pcapng.zst")];
const FEED_FILE: &str = "feed.toml";
/// The file that marks the others as complete. It holds the capture's bytes, messages and datagrams.
const MADE: &str = "made";

/// How much the reader takes at once.
const BUFFER: usize = 256 << 10;
/// One datagram in this many is lost on each line.
const LOSS: u32 = 1_000;

pub fn run(args: &Args) {
    let temporary = args.dir.is_none();
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("twinline-captures-{}", std::process::id())));
    let done = measure(args, &dir);
    if temporary {
        let _ = fs::remove_dir_all(&dir);
    }
    done.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
}

/// What the capture holds.
struct Made {
    bytes: u64,
    /// Messages that at least one line brings.
    messages: u64,
    /// Datagrams of both lines.
    datagrams: u64,
}

fn measure(args: &Args, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let made = match made(dir) {
        Some(made) => made,
        None => make(dir, (args.gib * (1_u64 << 30) as f64) as u64)?,
    };
    println!("# {}", machine::line());
    println!("# load average {}", machine::load());
    println!(
        "# capture of {:.2} GB: {} datagrams on two lines, {} messages to deliver",
        made.bytes as f64 / 1e9,
        made.datagrams,
        made.messages
    );
    if args.rounds == 0 {
        return Ok(());
    }
    let beside = std::env::current_exe()?.with_file_name("twinline");
    let program = args.program.as_ref().unwrap_or(&beside);
    let kinds = KINDS.iter().filter(|(kind, _)| args.only.as_deref().is_none_or(|only| only == *kind));
    println!(
        "\n{:<6} {:<22} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "file", "what", "median s", "GB/s", "to floor", "Mmsg/s out", "MB/s disk"
    );
    for (kind, name) in kinds {
        measure_kind(args.rounds, program, &made, kind, &dir.join(name))?;
    }
    Ok(())
}

fn measure_kind(rounds: usize, program: &Path, made: &Made, kind: &str, path: &Path) -> io::Result<()> {
    let on_disk = fs::metadata(path)?.len();
    let clock = Clock::start();
    let timed = |work: Work<'_>, expected: u64| -> io::Result<f64> {
        let start = clock.now();
        let found = work()?;
        let took = clock.now() - start;
        assert_eq!(found, expected, "{kind}: not the capture that was made; remove {}", path.display());
        Ok(took.0 as f64 / 1e9)
    };
    let floor = || floor(kind, path);
    // into the page cache
    floor()?;
    let contenders: [(&str, Work<'_>, u64); 5] = [
        (if kind == "plain" { "read(2) alone" } else { "decompression alone" }, &floor, made.bytes),
        ("records", &|| records(path), made.datagrams),
        ("arbitrate", &|| arbitrate(program, path, None), made.messages),
        ("arbitrate --messages", &|| arbitrate(program, path, Some("/dev/null")), made.messages),
        ("the first again", &floor, made.bytes),
    ];
    let mut seconds = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((_, work, expected), seconds) in contenders.iter().zip(&mut seconds) {
            seconds.push(timed(*work, *expected)?);
        }
    }
    for ((what, ..), of_it) in contenders.iter().zip(&seconds) {
        let ratios = of_it.iter().zip(&seconds[0]).map(|(it, floor)| it / floor);
        let (median, ratio) = (median(of_it.iter().copied()), self::median(ratios));
        let messages = if what.starts_with("arbitrate") {
            format!("{:.2}", made.messages as f64 / 1e6 / median)
        } else {
            "-".into()
        };
        println!(
            "{kind:<6} {what:<22} {median:>8.3} {:>8.2} {ratio:>8.2} {messages:>10} {:>10.0}",
            made.bytes as f64 / 1e9 / median,
            on_disk as f64 / 1e6 / median
        );
    }
    Ok(())
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// What is timed. Returns how many it found.
type Work<'a> = &'a dyn Fn() -> io::Result<u64>;

/// Decompresses a file and discards it. Returns the number of bytes.
fn floor(kind: &str, path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let mut read: Box<dyn Read> = match kind {
        "gzip" => Box::new(GzDecoder::new(BufReader::with_capacity(BUFFER, file))),
        "zstd" => Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, file))?),
        _ => Box::new(file),
    };
    let (mut buffer, mut bytes) = (vec![0; BUFFER], 0);
    loop {
        match read.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// Runs only the capture reader. Returns the number of datagrams.
fn records(path: &Path) -> io::Result<u64> {
    let mut reader = CaptureReader::open(path).map_err(io::Error::other)?;
    let mut datagrams = 0;
    while reader.next().map_err(io::Error::other)?.is_some() {
        datagrams += 1;
    }
    Ok(datagrams)
}

/// Runs the whole program. Returns how many messages it delivered.
fn arbitrate(program: &Path, path: &Path, messages: Option<&str>) -> io::Result<u64> {
    let mut command = Command::new(program);
    command.arg("arbitrate").arg(path.with_file_name(FEED_FILE)).arg(path).arg("--json");
    if let Some(messages) = messages {
        command.args(["--messages", messages]);
    }
    let hint = |e: io::Error| io::Error::other(format!("{}: {e}; cargo build --release makes it", program.display()));
    let output = command.output().map_err(hint)?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    // the first match is that of the only session
    let json = String::from_utf8_lossy(&output.stdout);
    let delivered = json.split("\"delivered\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
    delivered.ok_or_else(|| io::Error::other("twinline arbitrate does not say how many messages were delivered"))
}

fn made(dir: &Path) -> Option<Made> {
    let text = fs::read_to_string(dir.join(MADE)).ok()?;
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    Some(Made { bytes: numbers.next()?, messages: numbers.next()?, datagrams: numbers.next()? })
}

/// Makes the capture, and compresses it with gzip and with zstd.
fn make(dir: &Path, bytes: u64) -> io::Result<Made> {
    let [plain, gzip, zstd] = KINDS.map(|(_, name)| dir.join(name));
    let (messages, datagrams) = generate(&plain, bytes)?;
    thread::scope(|scope| {
        let zipped = scope.spawn(|| -> io::Result<()> {
            let mut encoder = GzEncoder::new(File::create(&gzip)?, Compression::default());
            io::copy(&mut BufReader::with_capacity(BUFFER, File::open(&plain)?), &mut encoder)?;
            encoder.finish()?.sync_all()
        });
        let mut encoder = zstd::Encoder::new(File::create(&zstd)?, 3)?;
        encoder.include_checksum(true)?;
        io::copy(&mut BufReader::with_capacity(BUFFER, File::open(&plain)?), &mut encoder)?;
        encoder.finish()?.sync_all()?;
        zipped.join().expect("compressing does not panic")
    })?;
    let made = Made { bytes: fs::metadata(&plain)?.len(), messages, datagrams };
    fs::write(dir.join(FEED_FILE), FEED)?;
    fs::write(dir.join(MADE), format!("{} {messages} {datagrams}\n", made.bytes))?;
    Ok(made)
}

/// Writes the plain capture. Returns how many messages at least one line brings, and the datagrams of both.
fn generate(path: &Path, bytes: u64) -> io::Result<(u64, u64)> {
    let feed = Feed::parse(FEED).expect("the feed above is right");
    let mut writer = CaptureWriter::create(path, &feed).map_err(io::Error::other)?;
    let source: SocketAddrV4 = "10.81.0.1:26399".parse().expect("an address");
    let session = Session::text(b"CAPTURES01");
    let mut rng = Rng::with_seed(7);
    let mut book = Book::default();
    let (mut packed, mut datagram) = (Vec::new(), Vec::new());
    // datagrams of A that B has not sent yet
    let mut behind = std::collections::VecDeque::new();
    let (mut next, mut delivered, mut datagrams, mut written) = (1_u64, 0, 0, 0_u64);
    let mut now = Nanos(1_763_130_600_000_000_000);
    while written < bytes {
        now = now + Nanos(rng.u64(200..20_000));
        // most datagrams are small, and some are bursts
        let count = if rng.u32(0..4) == 0 { rng.usize(8..36) } else { rng.usize(1..8) };
        packed.clear();
        packed.extend((0..count).map(|_| book.message(&mut rng, now)));
        let messages: Vec<&[u8]> = packed.iter().map(|message: &[u8; MESSAGE]| message.as_slice()).collect();
        MoldUdp64.encode(session, next, &messages, 1_400, &mut datagram);
        next += count as u64;
        let lost = [rng.u32(0..LOSS) == 0, rng.u32(0..LOSS) == 0];
        delivered += if lost == [true, true] { 0 } else { count as u64 };
        let mut send = |stamp: Nanos, line: u8, payload: &[u8]| {
            let to = feed.lines[usize::from(line)].groups[0];
            datagrams += 1;
            // block, IPv4 and UDP
            written += 32 + 28 + payload.len().next_multiple_of(4) as u64;
            writer.write(stamp, Line(line), source, to, payload).map_err(io::Error::other)
        };
        if !lost[1] {
            behind.push_back((now + Nanos(rng.u64(1_000..30_000)), datagram.clone()));
        }
        while let Some((stamp, payload)) = behind.pop_front_if(|(stamp, _)| *stamp <= now) {
            send(stamp, 1, &payload)?;
        }
        if !lost[0] {
            send(now, 0, &datagram)?;
        }
    }
    for (stamp, payload) in behind {
        datagrams += 1;
        writer.write(stamp.max(now), Line(1), source, feed.lines[1].groups[0], &payload).map_err(io::Error::other)?;
    }
    writer.finish(now + Nanos::from_secs(1), &[0, 0]).map_err(io::Error::other)?;
    Ok((delivered, datagrams))
}

const MESSAGE: usize = 36;

/// Makes messages of the shape of ITCH's Add Order: numbers that rise, a few thousand names, prices near the last.
#[derive(Default)]
struct Book {
    order: u64,
    prices: Vec<u32>,
}

impl Book {
    fn message(&mut self, rng: &mut Rng, now: Nanos) -> [u8; MESSAGE] {
        const NAMES: u16 = 4_096;
        if self.prices.is_empty() {
            self.prices = (0..NAMES).map(|_| rng.u32(10_000..5_000_000)).collect();
        }
        self.order += rng.u64(1..40);
        // half of the traffic is in a sixteenth of the names
        let names = if rng.bool() { NAMES } else { NAMES / 16 };
        let name = rng.u16(0..names);
        let price = &mut self.prices[usize::from(name)];
        *price = price.wrapping_add_signed(100 * rng.i32(-3..=3)).clamp(10_000, 5_000_000);
        let mut out = [0; MESSAGE];
        out[0] = b'A';
        out[1..3].copy_from_slice(&name.to_be_bytes());
        out[5..11].copy_from_slice(&(now.0 % 86_400_000_000_000).to_be_bytes()[2..]);
        out[11..19].copy_from_slice(&self.order.to_be_bytes());
        out[19] = if rng.bool() { b'B' } else { b'S' };
        out[20..24].copy_from_slice(&(100 * rng.u32(1..20)).to_be_bytes());
        out[24..32].copy_from_slice(format!("{:<8}", format!("N{name:X}")).as_bytes());
        out[32..36].copy_from_slice(&price.to_be_bytes());
        out
    }
}
