//! How long messages take from the arbiter's stamp to a client's read, as a histogram, until the session ends:
//!
//! ```text
//! cargo run --release --example client_latency feeds/loopback.toml
//! cargo run --release -- publish feeds/loopback.toml --seconds 3        (in another terminal)
//! ```

use hdrhistogram::Histogram;
use twinline_node::{Clock, Feed, Item, Polled, Runtime, StreamKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let feed = Feed::load(std::env::args().nth(1).ok_or("usage: client_latency FEED")?)?;
    let clock = Clock::start(); // one clock for both threads, so that their times can be compared
    let mut runtime = Runtime::new(feed).clock(clock).until_end(true);
    let mut client = runtime.client(StreamKind::Ordered)?;
    let (_running, _clients) = runtime.start()?;
    let mut nanos = Histogram::<u64>::new(3)?;
    loop {
        match client.poll()? {
            // a message that was held for a gap carries the stamp of its own arrival: it would measure the wait
            Polled::Item(Item::Message(message)) if !message.flags.held => {
                nanos.record((clock.now() - message.stamp).0)?;
            }
            Polled::Item(_) => {}
            Polled::Empty => std::thread::yield_now(),
            Polled::Ended => break,
        }
    }
    println!("{} messages", nanos.len());
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        println!("p{:<5} {:>10} ns", quantile * 100.0, nanos.value_at_quantile(quantile));
    }
    Ok(())
}
