//! The ring under loom: every order in which two threads can see each other's stores.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --lib loom
//! ```
//!
//! Each of these was weakened to Relaxed once, and `loom_records_arrive_whole` failed: the Release in `Producer::publish`, the
//! Acquire in `Consumer::ready`, the Release in `Consumer::release`, the Acquire in `Producer::read_cursor`. It also failed
//! with the zero store after a record left out.

use loom::thread;

use super::*;

/// 64 bytes: four records without payload, or two with up to 16 bytes.
const TINY: Shape = Shape { capacity: 64, record_max: 0 };
const SHORT: Shape = Shape { capacity: 128, record_max: 16 };

/// Writes `records`, waiting for room, while this thread reads them.
fn stream(shape: Shape, records: &'static [&'static [u8]], batch: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (mut producer, mut consumer) = heap(shape, b"").unwrap();
        let writer = thread::spawn(move || {
            for (n, record) in records.iter().enumerate() {
                while producer.stage(b"", record, 0).is_err() {
                    producer.publish();
                    thread::yield_now();
                }
                if n % batch == batch - 1 {
                    producer.publish();
                }
            }
            producer.publish();
        });
        let mut read = 0;
        loop {
            let closed = consumer.closed();
            match consumer.peek().unwrap() {
                Some(record) => {
                    assert_eq!(record, records[read]);
                    consumer.release();
                    read += 1;
                }
                None if closed => break,
                None => thread::yield_now(),
            }
        }
        assert_eq!(read, records.len());
        writer.join().unwrap();
    });
}

/// Sequence words of the next lap, as payload: 128 + 0 + 1 and so on.
const IMITATION: [u8; 16] = [129, 0, 0, 0, 0, 0, 0, 0, 161, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn loom_records_arrive_whole() {
    stream(SHORT, &[b"first", &IMITATION, b"third", &IMITATION, b"fifth"], 1);
}

#[test]
fn loom_batches_arrive_whole() {
    stream(SHORT, &[b"first", b"second", &IMITATION, b"fourth"], 2);
}

#[test]
fn loom_headers_alone_wrap() {
    stream(TINY, &[b"", b"", b"", b"", b""], 1);
}

/// Both orderings of the queue of values were weakened to Relaxed once, at either end, and this failed.
#[test]
fn loom_values_are_handed_over_whole() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut giver, mut taker) = handoff(2);
        let other = thread::spawn(move || {
            for n in 0..4 {
                let mut value = Box::new(n);
                while let Err(back) = giver.give(value) {
                    value = back;
                    thread::yield_now();
                }
            }
        });
        for n in 0..3 {
            let value = loop {
                match taker.take() {
                    Some(value) => break value,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*value, n);
        }
        other.join().unwrap();
    });
}
