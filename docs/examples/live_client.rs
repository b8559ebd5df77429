//! A live arbiter with one client in the same process, until the session ends:
//!
//! ```text
//! cargo run --release --example live_client feeds/loopback.toml
//! cargo run --release -- publish feeds/loopback.toml --seconds 3        (in another terminal)
//! ```

use twinline_node::{Feed, Item, Polled, Runtime, StreamKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let feed = Feed::load(std::env::args().nth(1).ok_or("usage: live_client FEED")?)?;
    let mut runtime = Runtime::new(feed).until_end(true);
    let mut client = runtime.client(StreamKind::Ordered)?;
    let (running, _clients) = runtime.start()?;
    let (mut messages, mut bytes) = (0u64, 0usize);
    loop {
        match client.poll()? {
            Polled::Item(Item::Message(message)) => {
                messages += 1;
                bytes += message.bytes.len();
            }
            Polled::Item(Item::Loss(loss)) => println!("lost {}", loss.range),
            Polled::Item(Item::Overrun(overrun)) => println!("too slow: missed {}", overrun.range),
            Polled::Item(_) => {}
            Polled::Empty => {
                running.notices().for_each(|notice| eprintln!("{notice}"));
                std::thread::yield_now(); // spin instead if this thread has a core to itself
            }
            Polled::Ended => break,
        }
    }
    println!("{messages} messages, {bytes} bytes");
    Ok(())
}
