//! The arbitrated messages of a capture: `cargo run --example arbitrate_capture FEED CAPTURE`

use twinline_node::{Feed, offline};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, feed, captures @ ..] = &arguments[..] else {
        return Err("usage: arbitrate_capture FEED CAPTURE...".into());
    };
    let mut messages = offline::messages(&Feed::load(feed)?, captures)?;
    let mut count = 0;
    while let Some(message) = messages.next()? {
        count += 1;
        println!("{} {} {} bytes", message.channel, message.sequence, message.bytes.len());
    }
    eprintln!("{count} messages, {} lost", messages.lost());
    Ok(())
}
