//! A framing of one's own, described in a feed file: a house feed with a 10-byte header. `cargo run --example own_framing`

use twinline_core::Nanos;
use twinline_core::arbiter::{Event, Run, Sink};
use twinline_core::frame::Line;
use twinline_node::config::Feed;
use twinline_node::handler::Handler;

/// Header: u32 stream, u32 number of the first message, u16 count; each message behind a u16 length. All big-endian.
const FEED: &str = r#"
name = "house"
framing = "fixed"

[fixed]
unit = "message"
header = 10
endian = "big"
session = "u32 at 0"
sequence = "u32 at 4"
count = "u16 at 8"
message_length = "u16 at 0"
message_length_adds = 2
message_skip = 2
heartbeat = "count = 0"
heartbeat_carries = "next"

[[line]]
name = "A"
groups = ["239.1.1.1:7001"]
interface = "lo"

[[line]]
name = "B"
groups = ["239.1.1.2:7001"]
interface = "lo"
"#;

struct Print;

impl Sink for Print {
    fn event(&mut self, _: &Event) {}

    fn release(&mut self, run: &Run<'_>) {
        for (number, message) in (run.first.0..).zip(run.messages()) {
            println!("{number}: {}", String::from_utf8_lossy(message));
        }
    }
}

fn datagram(number: u32, messages: &[&str]) -> Vec<u8> {
    let mut out = [7u32.to_be_bytes(), number.to_be_bytes()].concat();
    out.extend((messages.len() as u16).to_be_bytes());
    for message in messages {
        out.extend((message.len() as u16).to_be_bytes());
        out.extend(message.as_bytes());
    }
    out
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let feed = Feed::parse(FEED)?;
    let mut handler = Handler::new(feed.framing, &feed);
    // line A loses the second datagram, line B packs all three messages in one
    let arrivals = [
        (Line(0), datagram(1, &["one"])),
        (Line(0), datagram(3, &["three"])),
        (Line(1), datagram(1, &["one", "two", "three"])),
    ];
    for (stamp, (line, payload)) in (1..).zip(&arrivals) {
        handler.on_datagram(Nanos::from_micros(stamp), *line, 0, payload, &mut Print);
    }
    handler.finish(Nanos::from_micros(10), &mut Print);
    Ok(())
}
