//! Messages for demonstrations and tests.

use std::io;

use fastrand::Rng;

use super::messages::{MessageSource, Timing};

/// The shortest made-up message.
pub const MADE_UP_LEN_MIN: usize = 19;
/// The longest made-up message: with any framing's header it fits an Ethernet frame.
pub const MADE_UP_LEN_MAX: usize = 1_400;

/// Type, length, and how many of 100 messages: a book feed is adds and deletes.
const MIX: [(u8, u8, u8); 8] = [
    (b'A', 36, 40),
    (b'D', 19, 37),
    (b'E', 31, 10),
    (b'X', 23, 5),
    (b'U', 35, 4),
    (b'F', 40, 2),
    (b'C', 36, 1),
    (b'P', 44, 1),
];

/// Made-up messages in the sizes of ITCH 5.0. Each carries a check value, so that a reader can tell whether its bytes are right.
///
/// ```text
///  0      1           5        11            19
///  +------+-----------+--------+-------------+------- - -
///  | type | check u32 | time   | index u64   | filler
///  +------+-----------+--------+-------------+------- - -
/// ```
///
/// Big-endian, as ITCH is. The index counts messages from 0; the check value is the CRC-32 of all other bytes. A delete
/// (19 bytes) has no filler.
#[derive(Clone, Debug)]
pub struct MadeUp {
    index: u64,
    count: Option<u64>,
    len: Option<usize>,
    rng: Rng,
}

impl MadeUp {
    /// `count` messages (`None`: without end), all `len` bytes long (`None`: mixed as in ITCH 5.0; else brought within
    /// [`MADE_UP_LEN_MIN`] and [`MADE_UP_LEN_MAX`]). The same seed makes the same messages.
    pub fn new(count: Option<u64>, len: Option<usize>, seed: u64) -> MadeUp {
        let len = len.map(|len| len.clamp(MADE_UP_LEN_MIN, MADE_UP_LEN_MAX));
        MadeUp { index: 0, count, len, rng: Rng::with_seed(seed) }
    }

    /// The index of a made-up message; `None` if its bytes are not as they were made.
    pub fn check(message: &[u8]) -> Option<u64> {
        let index = message.get(11..19)?;
        let told = message.get(1..5)?;
        (told == check_value(message).to_be_bytes()).then(|| {
            let mut wide = [0; 8];
            wide.copy_from_slice(index);
            u64::from_be_bytes(wide)
        })
    }
}

/// The CRC-32 of a message's type and of what follows its check value.
fn check_value(message: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&message[..1]);
    crc.update(&message[5..]);
    crc.finalize()
}

impl MessageSource for MadeUp {
    fn next(&mut self, message: &mut Vec<u8>) -> io::Result<Option<Timing>> {
        if self.count.is_some_and(|count| self.index >= count) {
            return Ok(None);
        }
        let mut draw = self.rng.u8(..100);
        let (kind, mixed) = MIX
            .iter()
            .find_map(|&(kind, len, share)| {
                let found = draw < share;
                draw = draw.saturating_sub(share);
                found.then_some((kind, usize::from(len)))
            })
            .unwrap_or((b'A', 36));
        let len = self.len.unwrap_or(mixed);
        message.clear();
        message.resize(len, 0);
        message[0] = kind;
        // microseconds since nine in the morning, by the index: the same time in every run
        let time = 9 * 3_600_000_000_000 + self.index * 1_000;
        message[5..11].copy_from_slice(&time.to_be_bytes()[2..]);
        message[11..19].copy_from_slice(&self.index.to_be_bytes());
        self.rng.fill(&mut message[19..]);
        let check = check_value(message);
        message[1..5].copy_from_slice(&check.to_be_bytes());
        self.index += 1;
        Ok(Some(Timing::Untimed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut source: MadeUp) -> Vec<Vec<u8>> {
        let (mut all, mut message) = (Vec::new(), Vec::new());
        while source.next(&mut message).unwrap().is_some() {
            all.push(message.clone());
        }
        all
    }

    #[test]
    fn a_seed_makes_the_same_messages_and_another_does_not() {
        let one = all(MadeUp::new(Some(500), None, 1));
        assert_eq!(one.len(), 500);
        assert_eq!(one, all(MadeUp::new(Some(500), None, 1)));
        assert_ne!(one, all(MadeUp::new(Some(500), None, 2)));
    }

    #[test]
    fn a_message_proves_its_bytes() {
        for len in [None, Some(19), Some(1_400)] {
            for (n, mut message) in all(MadeUp::new(Some(50), len, 3)).into_iter().enumerate() {
                assert_eq!(MadeUp::check(&message), Some(n as u64));
                for at in 0..message.len() {
                    message[at] ^= 1;
                    assert_eq!(MadeUp::check(&message), None, "message {n}, byte {at}");
                    message[at] ^= 1;
                }
                assert_eq!(MadeUp::check(&message[..message.len() - 1]), None);
            }
        }
        assert_eq!(MadeUp::check(b""), None);
    }

    #[test]
    fn sizes_are_itch_s_unless_fixed() {
        let mixed = all(MadeUp::new(Some(1_000), None, 1));
        for message in &mixed {
            assert_eq!(super::super::binary_file::itch_50_len(message[0]), Some(message.len()));
        }
        let deletes = mixed.iter().filter(|m| m.len() == 19).count();
        assert!((320..420).contains(&deletes), "{deletes} deletes of 1,000");
        assert!(all(MadeUp::new(Some(9), Some(100), 1)).iter().all(|m| m.len() == 100));
        assert!(all(MadeUp::new(Some(9), Some(1), 1)).iter().all(|m| m.len() == MADE_UP_LEN_MIN));
    }
}
