//! Any frames in a mapped ring: the source neither panics nor hands over what is not in them, and counts what it leaves out.

#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use twinline_node::config::Feed;
use twinline_node::os::{Attachment, Checksum, MappedRingError, RECEIVE_BATCH, RawFrame, ReceiveOptions, Ring};
use twinline_node::source::{CountedSource, LiveWatch, Mapped, Source};

/// What is in the rings of both lines.
type Frames = Rc<RefCell<VecDeque<(Vec<u8>, u8)>>>;

struct Scripted(Frames);

impl Ring for Scripted {
    fn poll(&mut self, take: &mut impl FnMut(RawFrame<'_>)) -> io::Result<usize> {
        for taken in 0..RECEIVE_BATCH {
            let Some((bytes, notes)) = self.0.borrow_mut().pop_front() else { return Ok(taken) };
            let checksum = match notes & 3 {
                0 => Checksum::Valid,
                1 => Checksum::Ready,
                2 => Checksum::NotReady,
                _ => Checksum::Unknown,
            };
            let joined = (u16::from(notes >> 4) * 7).try_into().ok();
            take(RawFrame { bytes: &bytes, truncated: notes & 4 != 0, checksum, kernel_stamp: None, joined });
        }
        Ok(RECEIVE_BATCH)
    }
}

#[derive(Debug)]
struct Nowhere;

impl Attachment for Nowhere {
    fn attach(&mut self, _: u32) -> Result<(), MappedRingError> {
        Ok(())
    }

    fn detach(&mut self) {}

    fn attached(&self) -> Option<u32> {
        None
    }

    fn overflow(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn buffer_bytes(&self) -> (usize, usize) {
        (0, 0)
    }
}

struct Bed {
    frames: Frames,
    source: Mapped<Scripted>,
    _watch: LiveWatch,
}

const FEED: &str = "name = \"fuzz\"\nframing = \"moldudp64\"\n\
    [[line]]\nname = \"A\"\ngroups = [\"239.81.1.1:26400\"]\ninterface = \"127.0.0.1\"\nsource = \"10.0.0.1\"\n\
    [[line]]\nname = \"B\"\ngroups = [\"239.81.2.1:26400\"]\ninterface = \"127.0.0.1\"\n";

thread_local! {
    // sockets and the reassembler's memory: once, since each run would take longer to make them than to use them
    static BED: RefCell<Bed> = RefCell::new({
        let feed = Feed::parse(FEED).expect("a feed");
        let frames = Frames::default();
        let open = |_: &_| Ok((Scripted(frames.clone()), Nowhere));
        let (source, watch) = Mapped::open(&feed, &ReceiveOptions::default(), open).expect("loopback");
        Bed { frames, source, _watch: watch }
    });
}

/// An Ethernet header, an IPv4 header and a UDP header that the source takes: what a run's bytes are laid over.
const BEGINNING: [u8; 42] = [
    1, 0, 94, 81, 1, 1, 2, 0, 0, 0, 0, 1, 8, 0, 69, 0, 0, 60, 0, 1, 0, 0, 16, 17, 0, 0, 10, 0, 0, 1, 239, 81, 1, 1, 19,
    136, 103, 32, 0, 40, 0, 0,
];

fuzz_target!(|data: &[u8]| {
    BED.with_borrow_mut(|bed| {
        let mut rest = data;
        let mut longest = 0;
        while let Some((&[notes, len], after)) = rest.split_first_chunk() {
            let (body, after) = after.split_at(usize::from(len).min(after.len()));
            rest = after;
            let mut frame = body.to_vec();
            if notes & 8 != 0 {
                // a good frame, changed where the input says: (place, byte) pairs, then payload
                frame = BEGINNING.to_vec();
                let (changes, payload) = body.split_at(body.len().min(8));
                changes.chunks_exact(2).for_each(|change| {
                    let at = usize::from(change[0]);
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = change[1];
                    }
                });
                frame.extend_from_slice(payload);
                // the header's checksum, so that more than it is tried
                frame[24..26].fill(0);
                let sum: u32 = frame[14..34].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
                let folded = (sum & 0xffff) + (sum >> 16);
                let folded = !((folded & 0xffff) + (folded >> 16)) as u16;
                frame[24..26].copy_from_slice(&folded.to_be_bytes());
            }
            longest = longest.max(frame.len());
            bed.frames.borrow_mut().push_back((frame, notes));
        }
        let before: u64 = bed.source.facts().lines.iter().map(|line| line.datagrams).sum();
        let mut came = 0;
        while !bed.frames.borrow().is_empty() {
            bed.source
                .poll(&mut |datagram| {
                    assert!(datagram.line.index() < 2 && datagram.group == 0);
                    assert!(datagram.payload.len() <= 65_507);
                    assert!(datagram.line.index() == 1 || *datagram.source.ip() == Ipv4Addr::new(10, 0, 0, 1));
                    came += 1;
                })
                .expect("nothing that ends it");
        }
        let after: u64 = bed.source.facts().lines.iter().map(|line| line.datagrams).sum();
        assert_eq!(after - before, came);
    });
});
