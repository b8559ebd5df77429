//! The ring against an oracle: every order of operations, every offset of the wrap, payloads that imitate headers.

use std::collections::VecDeque;
use std::thread;

use proptest::prelude::*;

use super::layout::{ALIGN, C_CURSOR, PAD, sequence};
use super::*;

const SMALL: Shape = Shape { capacity: 4096, record_max: 1000 };

/// A ring whose memory the test can scribble on.
fn open(shape: Shape) -> (Producer, Consumer, Memory, Layout) {
    let layout = Layout::new(shape, 0).unwrap();
    let memory = Memory::heap(&layout);
    // SAFETY: new memory, one producer, one consumer; the third handle stores words, atomically, as a hostile peer would.
    unsafe {
        let producer = Producer::create(memory.share(), shape, b"").unwrap();
        (producer, Consumer::attach(memory.share()).unwrap(), memory, layout)
    }
}

/// Writes and reads records until the next one begins at this offset.
fn turn_to(producer: &mut Producer, consumer: &mut Consumer, offset: usize) {
    for _ in 0..offset / ALIGN {
        producer.write(b"", b"").unwrap();
        assert_eq!(consumer.peek(), Ok(Some([].as_slice())));
        consumer.release();
    }
}

#[test]
fn a_shape_is_checked() {
    let at = |capacity, record_max| Layout::new(Shape { capacity, record_max }, 0);
    assert!(at(4096, 1008).is_ok(), "four records of 1008 and 16 bytes");
    assert_eq!(at(4096, 1009), Err(RingError::TooSmall { capacity: 4096, record_max: 1009, least: 8192 }));
    assert_eq!(at(5000, 8), Err(RingError::Capacity { capacity: 5000 }));
    assert_eq!(at(2048, 8), Err(RingError::Capacity { capacity: 2048 }));
    assert_eq!(at(0, 0), Err(RingError::Capacity { capacity: 0 }));
    assert!(matches!(at(4096, usize::MAX), Err(RingError::TooSmall { .. })));
    for record_max in [0, 1, 1008, 65_600] {
        assert!(at(Shape::least_capacity(record_max), record_max).is_ok());
    }
}

#[test]
fn what_is_written_is_read_in_place_and_facts_stand_beside_it() {
    let (mut producer, mut consumer) = heap(SMALL, b"some facts").unwrap();
    assert_eq!(consumer.facts(), b"some facts");
    assert_eq!(consumer.peek(), Ok(None));
    producer.write(b"ab", b"cde").unwrap();
    producer.write(b"", b"").unwrap();
    assert_eq!(consumer.peek(), Ok(Some(b"abcde".as_slice())));
    assert_eq!(consumer.peek(), Ok(Some(b"abcde".as_slice())), "until it is released");
    consumer.release();
    consumer.release();
    assert_eq!(consumer.peek(), Ok(Some(b"".as_slice())));
    consumer.release();
    assert_eq!(consumer.peek(), Ok(None));
    assert_eq!(producer.write(b"", &[0; 1001]), Err(Refused::TooLong));
    assert!(!consumer.closed() && !producer.consumer_gone());
    drop(consumer);
    assert!(producer.consumer_gone());
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
    turn_to(&mut producer, &mut consumer, 4096 - 64);
    producer.stage(b"one", b"", 0).unwrap();
    producer.stage(b"two", &[7; 500], 0).unwrap(); // behind a pad
    producer.stage(b"three", b"", 0).unwrap();
    assert_eq!(consumer.peek(), Ok(None));
    producer.abandon();
    producer.stage(b"four", b"", 0).unwrap();
    producer.stage(b"five", &[7; 100], 0).unwrap();
    assert_eq!(consumer.peek(), Ok(None));
    producer.publish();
    for (name, len) in [(b"four", 4), (b"five", 104)] {
        let record = consumer.peek().unwrap().unwrap();
        assert_eq!((&record[..4], record.len()), (name.as_slice(), len));
        consumer.release();
    }
    assert_eq!(consumer.peek(), Ok(None));
    producer.stage(b"six", b"", 0).unwrap();
    drop(producer);
    assert!(consumer.closed());
    assert_eq!(consumer.peek(), Ok(None), "what was staged goes with the producer");
}

#[test]
fn every_length_wraps_at_every_offset() {
    for offset in (0..SMALL.capacity).step_by(ALIGN) {
        let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
        turn_to(&mut producer, &mut consumer, offset);
        for len in (0..=SMALL.record_max).step_by(if (1100..2900).contains(&offset) { 331 } else { 13 }) {
            let body: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            producer.write(b"", &body).unwrap();
            producer.write(b"end", b"").unwrap();
            assert_eq!(consumer.peek(), Ok(Some(body.as_slice())), "{len} bytes, from {offset}");
            consumer.release();
            assert_eq!(consumer.peek(), Ok(Some(b"end".as_slice())), "{len} bytes, from {offset}");
            consumer.release();
            assert_eq!(consumer.peek(), Ok(None));
        }
    }
}

/// Payload whose every word is what the consumer will look for when it comes to that word a lap later. Fails when the header
/// behind a record is not zeroed before the record is published (tried).
#[test]
fn payload_that_imitates_headers_is_never_taken_for_one() {
    let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut position = 0u64;
    for _ in 0..20_000 {
        let len = random.usize(0..=SMALL.record_max);
        let to_end = SMALL.capacity as u64 - position % SMALL.capacity as u64;
        if span(len) as u64 > to_end {
            position += to_end;
        }
        let begins = position + HEADER as u64;
        let body: Vec<u8> = (0..len as u64)
            .map(|i| {
                let word = (begins + i) & !7;
                let looked_for = if word % 16 == 8 { sequence(word - 8 + SMALL.capacity as u64) } else { 8 };
                looked_for.to_le_bytes()[((begins + i) % 8) as usize]
            })
            .collect();
        producer.write(b"", &body).unwrap();
        position += span(len) as u64;
        assert_eq!(consumer.peek(), Ok(Some(body.as_slice())));
        consumer.release();
        assert_eq!(consumer.peek(), Ok(None), "at position {position}");
    }
}

/// Fails when [`Producer::abandon`] goes on believing in what was cleared (tried).
#[test]
fn what_was_abandoned_is_never_taken_for_a_header() {
    let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
    let word = |position: u64| if position % 16 == 8 { sequence(position - 8) } else { 8 };
    let body: Vec<u8> = (HEADER as u64..512).step_by(8).flat_map(|position| word(position).to_le_bytes()).collect();
    producer.stage(b"", &body, 0).unwrap();
    producer.abandon();
    producer.write(b"", b"short").unwrap();
    assert_eq!(consumer.peek(), Ok(Some(b"short".as_slice())));
    consumer.release();
    assert_eq!(consumer.peek(), Ok(None));
}

#[test]
fn the_consumers_cursor_is_read_only_where_the_cached_one_leaves_no_room() {
    let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
    // 63 records of 64 bytes fit before the header behind them does not
    for _ in 0..63 {
        producer.write(b"", &[1; 48]).unwrap();
        consumer.peek().unwrap();
        consumer.release();
    }
    assert_eq!(producer.cursor_reads, 0);
    for lap in 1..=10 {
        for _ in 0..63 {
            producer.write(b"", &[1; 48]).unwrap();
            consumer.peek().unwrap();
            consumer.release();
        }
        assert_eq!(producer.cursor_reads, lap, "once a lap");
    }
}

#[test]
fn a_full_ring_refuses_and_takes_again_once_there_is_room() {
    let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
    let mut taken = 0;
    while producer.write(b"", &[taken; 48]).is_ok() {
        taken += 1;
    }
    assert_eq!((taken, producer.free()), (63, 64), "all but the header behind the last");
    assert_eq!(producer.write(b"", &[0; 48]), Err(Refused::Full));
    for n in 0..taken {
        assert_eq!(consumer.peek(), Ok(Some([n; 48].as_slice())));
        consumer.release();
    }
    assert_eq!(producer.free(), 4096);
    assert_eq!(producer.stage(b"", &[0; 48], 4096 - 64 - 16), Ok(()));
    assert_eq!(producer.stage(b"", &[0; 48], 4096 - 128), Err(Refused::Full), "what is to be kept free counts");
}

#[test]
fn a_consumer_that_scribbles_on_its_cursor_harms_itself_alone() {
    for nonsense in [1, 64 + 8, 1 << 20, u64::MAX, u64::MAX - 15] {
        let (mut producer, mut consumer, memory, _) = open(SMALL);
        producer.write(b"", &[1; 48]).unwrap();
        consumer.peek().unwrap();
        consumer.release();
        assert_eq!(producer.free(), 4096);
        memory.cursor.store_release(C_CURSOR, nonsense);
        let mut taken = 0;
        while producer.write(b"", &[2; 48]).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 63, "cursor {nonsense:#x}: full, as if nothing had been read");
    }
}

#[test]
fn a_broken_record_is_an_error_and_stays_one() {
    let header = |length, sequence| {
        let (producer, mut consumer, memory, layout) = open(SMALL);
        memory.stream.store_relaxed(layout.word(0), length);
        memory.stream.store_release(layout.word(0) + 1, sequence);
        let found = consumer.peek().map(|record| record.map(<[u8]>::len));
        assert_eq!(consumer.peek().map(|record| record.map(<[u8]>::len)), found);
        drop(producer);
        found
    };
    assert_eq!(header(4, sequence(0)), Ok(Some(4)));
    assert_eq!(header(4, 77), Err(BrokenRing::Sequence { at: 0, found: 77 }));
    for length in [1001, 4096, u64::from(u32::MAX), PAD - 1, PAD, PAD | 4080, u64::MAX] {
        assert_eq!(header(length, sequence(0)), Err(BrokenRing::Length { at: 0, found: length }));
    }
}

#[test]
fn a_record_may_not_run_over_the_end() {
    let (mut producer, mut consumer, memory, layout) = open(SMALL);
    turn_to(&mut producer, &mut consumer, 4096 - 64);
    for (length, good) in [(48, true), (49, false), (PAD | 48, true), (PAD | 32, false)] {
        memory.stream.store_relaxed(layout.word(4096 - 64), length);
        memory.stream.store_release(layout.word(4096 - 64) + 1, sequence(4096 - 64));
        // SAFETY: nothing is written meanwhile; this second reader looks at a ring that the test alone has.
        let mut reader = unsafe { Consumer::attach(memory.share()).unwrap() };
        for _ in 0..(4096 - 64) / ALIGN {
            // the records of the first lap are still there
            assert_eq!(reader.peek(), Ok(Some([].as_slice())));
            reader.release();
        }
        // behind the pad stands the first record of the lap before, which is of another position
        let found = if length & PAD == 0 { good } else { false };
        assert_eq!(reader.peek().is_ok(), found, "{length:#x}");
    }
}

#[test]
fn a_descriptor_is_not_trusted() {
    let attach = |word: usize, value: u64| {
        let (_producer, _consumer, memory, _) = open(SMALL);
        memory.stream.store_release(word, value);
        // SAFETY: as in `a_record_may_not_run_over_the_end`.
        unsafe { Consumer::attach(memory).map(|_| ()) }
    };
    assert_eq!(attach(0, 1), Err(RingError::Magic));
    assert_eq!(attach(1, 9), Err(RingError::Version { found: 9 }));
    assert!(matches!(attach(2, 4096), Err(RingError::Memory { .. })));
    assert!(attach(2, u64::MAX).is_err());
    assert!(matches!(attach(3, 8192), Err(RingError::Memory { .. })));
    assert!(attach(3, u64::MAX).is_err());
    assert!(attach(4, u64::MAX).is_err());
    let small = Memory { stream: shim::Words::heap(PAGE), cursor: shim::Words::heap(PAGE) };
    // SAFETY: new memory, one producer.
    let refused = unsafe { Producer::create(small, SMALL, b"") };
    assert_eq!(refused.unwrap_err(), RingError::Memory { need: 8192, have: 4096 });
}

#[test]
fn two_threads_a_million_records() {
    const RECORDS: u64 = 1_000_000;
    let (mut producer, mut consumer) = heap(Shape { capacity: 1 << 15, record_max: 4096 }, b"").unwrap();
    let body = |n: u64| [n.wrapping_mul(0x9e37_79b9_7f4a_7c15) as u8; 300];
    let len = |n: u64| (n.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as usize % 300;
    let writer = thread::spawn(move || {
        for n in 0..RECORDS {
            // every seventh waits for the next, so that batches come as well
            while producer.stage(&n.to_le_bytes(), &body(n)[..len(n)], 0).is_err() {
                producer.publish();
                thread::yield_now();
            }
            if n % 7 != 0 {
                producer.publish();
            }
        }
        producer.publish();
    });
    let mut n = 0;
    loop {
        let closed = consumer.closed();
        let Some(record) = consumer.peek().unwrap() else {
            if closed {
                break;
            }
            thread::yield_now();
            continue;
        };
        let (head, rest) = record.split_first_chunk::<8>().unwrap();
        assert_eq!(u64::from_le_bytes(*head), n);
        assert_eq!(rest, &body(n)[..len(n)]);
        consumer.release();
        n += 1;
    }
    writer.join().unwrap();
    assert_eq!(n, RECORDS);
}

/// What the two ends can be asked to do.
#[derive(Clone, Debug)]
enum Operation {
    Stage { len: usize, fill: u8, keep: usize },
    Publish,
    Abandon,
    Peek,
    Release,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (prop_oneof![0..40usize, 900..=1000usize], any::<u8>(), prop_oneof![4 => Just(0usize), 1 => 0..600usize])
            .prop_map(|(len, fill, keep)| Operation::Stage { len, fill, keep }),
        4 => Just(Operation::Publish),
        1 => Just(Operation::Abandon),
        4 => Just(Operation::Peek),
        6 => Just(Operation::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_queue(offset in 0..64usize, operations in prop::collection::vec(operation(), 0..400)) {
        let (mut producer, mut consumer) = heap(SMALL, b"").unwrap();
        turn_to(&mut producer, &mut consumer, offset * ALIGN);
        let (mut staged, mut oracle) = (VecDeque::new(), VecDeque::new());
        // bytes that records take, without pads
        let mut seen = false;
        for operation in operations {
            match operation {
                Operation::Stage { len, fill, keep } => {
                    let used: usize = staged.iter().chain(&oracle).map(|r: &Vec<u8>| span(r.len())).sum();
                    let record = vec![fill; len];
                    match producer.stage(b"", &record, keep) {
                        Ok(()) => {
                            prop_assert!(used + span(len) + HEADER + keep <= SMALL.capacity);
                            staged.push_back(record);
                        }
                        // it may have been a pad that did not fit; never more than one before it and one among the others
                        Err(refused) => {
                            prop_assert_eq!(refused, Refused::Full);
                            prop_assert!(used + 3 * span(len.max(1000)) + HEADER + keep > SMALL.capacity);
                        }
                    }
                }
                Operation::Publish => {
                    producer.publish();
                    oracle.append(&mut staged);
                }
                Operation::Abandon => {
                    producer.abandon();
                    staged.clear();
                }
                Operation::Peek => {
                    seen = !oracle.is_empty();
                    prop_assert_eq!(consumer.peek(), Ok(oracle.front().map(Vec::as_slice)));
                }
                Operation::Release => {
                    consumer.release();
                    if std::mem::take(&mut seen) {
                        oracle.pop_front();
                    }
                }
            }
        }
    }

    /// Whatever the producer's memory holds, reading it ends, in a record, in nothing or in an error.
    #[test]
    fn no_memory_makes_a_consumer_panic(words in prop::collection::vec(any::<u64>(), 512), near in any::<bool>()) {
        let (_producer, mut consumer, memory, layout) = open(SMALL);
        for (i, word) in words.iter().enumerate() {
            // lengths that are often possible behind sequence words that are often right
            let position = (i / 2 * 16) as u64;
            let value = if !near { *word } else if i % 2 == 1 { sequence(position) } else { word % 1100 };
            memory.stream.store_relaxed(layout.word(0) + i, value);
        }
        for _ in 0..1000 {
            match consumer.peek() {
                Ok(Some(record)) => prop_assert!(record.len() <= SMALL.record_max),
                Ok(None) | Err(_) => break,
            }
            consumer.release();
        }
    }
}
