//! The arbitrated messages of a capture: `cargo run --example arbitrate_capture FEED CAPTURE`

use twinline_node::config::Feed;
use twinline_node::offline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, feed, captures @ ..] = &arguments[..] else { return Err("usage: arbitrate_capture FEED CAPTURE...".into()) };
    let mut messages = offline::messages(&Feed::load(feed)?, captures)?;
    while let Some(message) = messages.next()? {
        println!("{} {} {} bytes", message.channel, message.sequence, message.bytes.len());
    }
    eprintln!("{} messages, {} lost", messages.delivered(), messages.lost());
    Ok(())
}
